//! Aliases: names that stand for one or several versions of a route, each with its share of the calls.
//!
//! What calls an alias gets one of its versions: by chance, or always the same one for the same client
//! where the alias says what tells clients apart.

use std::fmt;

use crate::clock::Timestamp;
use crate::digest::Digest;
use crate::fault::FieldFault;
use crate::ids::RouteId;
use crate::random;
use crate::short_name::short_name;

/// Most versions that share one alias.
pub const MAX_SHARES: usize = 5;
/// Largest weight of a version within an alias.
pub const MAX_WEIGHT: u32 = 1000;
/// Longest name of a header or cookie that tells clients apart, bytes.
const MAX_KEY_NAME: usize = 64;

short_name!(
    /// The name of an alias. It is never a number, so that it cannot be taken for a version.
    AliasName
);

/// Which version of a route a call asks for: what stands behind the `@` of a function URL.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Selector {
    /// The version of this number.
    Number(u32),
    /// What the alias of this name stands for.
    Alias(AliasName),
}

impl Selector {
    /// Parses the part behind the `@`; `None` when it can name nothing.
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(name) = AliasName::parse(text) {
            return Some(Self::Alias(name));
        }
        let canonical = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
        text.parse().ok().filter(|_| canonical).map(Self::Number)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Alias(name) => name.fmt(f),
        }
    }
}

/// A version's part of an alias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// The version's number.
    pub number: u32,
    /// Its part of the sum of all weights, 0 to [`MAX_WEIGHT`].
    pub weight: u32,
}

/// The versions of an alias with their weights: 1 to [`MAX_SHARES`], each once, ordered by number, not
/// all of weight 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shares(Vec<Share>);

impl Shares {
    /// Checks the shares; the fault names the field `versions`.
    pub fn parse(mut shares: Vec<Share>) -> Result<Self, FieldFault> {
        let fault = |message: String| Err(FieldFault::new("versions", message));
        if !(1..=MAX_SHARES).contains(&shares.len()) {
            return fault(format!("must name 1 to {MAX_SHARES} versions"));
        }
        if shares.iter().any(|share| share.number == 0) {
            return fault("must name versions by their numbers, which begin with 1".to_owned());
        }
        if shares.iter().any(|share| share.weight > MAX_WEIGHT) {
            return fault(format!("must have weights from 0 to {MAX_WEIGHT}"));
        }
        if shares.iter().all(|share| share.weight == 0) {
            return fault("must give at least one version a weight above 0".to_owned());
        }
        shares.sort_by_key(|share| share.number);
        if shares.windows(2).any(|pair| pair[0].number == pair[1].number) {
            return fault("must name each version once".to_owned());
        }
        Ok(Self(shares))
    }

    /// The shares, by number.
    pub fn as_slice(&self) -> &[Share] {
        &self.0
    }

    /// The number of the version at `point`, a place on the line of all weights.
    ///
    /// The versions lie on the line by number. Where two share an alias and the newer one's weight
    /// grows, whoever met it before still meets it.
    fn at(&self, point: u64) -> u32 {
        let all: u64 = self.0.iter().map(|share| u64::from(share.weight)).sum();
        let mut left = ((u128::from(point) * u128::from(all)) >> u64::BITS) as u64;
        for share in &self.0 {
            match left.checked_sub(share.weight.into()) {
                Some(rest) => left = rest,
                None => return share.number,
            }
        }
        // Not reached: `left` began below the sum.
        self.0.last().map_or(0, |share| share.number)
    }
}

/// What tells clients of an alias apart, so that one client always gets one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sticky {
    /// The value of this header; its name is in lower case.
    Header(String),
    /// The value of this cookie.
    Cookie(String),
}

impl Sticky {
    /// A header by its name; the fault names `sticky.header`.
    pub fn header(name: &str) -> Result<Self, FieldFault> {
        check_key_name("sticky.header", name)?;
        Ok(Self::Header(name.to_ascii_lowercase()))
    }

    /// A cookie by its name; the fault names `sticky.cookie`.
    pub fn cookie(name: &str) -> Result<Self, FieldFault> {
        check_key_name("sticky.cookie", name)?;
        if name.to_ascii_lowercase().starts_with("picasso") {
            let message = "must not begin with \"picasso\": those cookies are the service's own";
            return Err(FieldFault::new("sticky.cookie", message));
        }
        Ok(Self::Cookie(name.to_owned()))
    }
}

/// Names that are tokens (RFC 9110, 5.6.2; RFC 6265, 4.1.1), of the characters that people use.
fn check_key_name(field: &str, name: &str) -> Result<(), FieldFault> {
    let fits = (1..=MAX_KEY_NAME).contains(&name.len());
    if fits && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
        return Ok(());
    }
    let limit = format!("must be 1 to {MAX_KEY_NAME} letters, digits, \"-\" or \"_\"");
    Err(FieldFault::new(field, limit))
}

/// What an alias stands for and who may call it. All fields are checked, but for whether the route
/// has the versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AliasSpec {
    /// Its versions.
    pub shares: Shares,
    /// Whether callers need no token.
    pub is_public: bool,
    /// What tells clients apart; `None`: each call is drawn on its own.
    pub sticky: Option<Sticky>,
}

/// A stored alias of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// The route.
    pub route_id: RouteId,
    /// Its name, unique within the route.
    pub name: AliasName,
    /// What it stands for.
    pub spec: AliasSpec,
    /// The Keystone user who made it.
    pub created_by: String,
    /// The Keystone user who changed it last.
    pub updated_by: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl Alias {
    /// The number of the version for one call. The same `key` gets the same version on every node, as
    /// long as the weights stay; without a key it is left to chance.
    pub fn draw(&self, key: Option<&[u8]>) -> u32 {
        let Some(key) = key else { return self.spec.shares.at(random::point()) };
        // The alias belongs to it: one client is not in the canary of all functions.
        let text = [self.route_id.as_str().as_bytes(), b"\0", self.name.as_str().as_bytes(), b"\0", key];
        self.spec.shares.at(Digest::of(&text.concat()).prefix())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(all: &[(u32, u32)]) -> Result<Shares, FieldFault> {
        Shares::parse(all.iter().map(|&(number, weight)| Share { number, weight }).collect())
    }

    fn alias(all: &[(u32, u32)]) -> Alias {
        Alias {
            route_id: RouteId::parse("route").unwrap(),
            name: AliasName::parse("live").unwrap(),
            spec: AliasSpec { shares: shares(all).unwrap(), is_public: false, sticky: None },
            created_by: String::new(),
            updated_by: String::new(),
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
        }
    }

    /// How many of 10,000 clients get version 2.
    fn clients_of_two(alias: &Alias) -> Vec<usize> {
        (0..10_000).filter(|n| alias.draw(Some(format!("client-{n}").as_bytes())) == 2).collect()
    }

    #[test]
    fn a_selector_is_a_number_or_a_name() {
        assert_eq!(Selector::parse("3"), Some(Selector::Number(3)));
        assert_eq!(Selector::parse("live"), Some(Selector::Alias(AliasName::parse("live").unwrap())));
        for bad in ["", "0", "03", "+3", "-3", "3a", "4294967296", "LIVE", "a@b", " 3", "３"] {
            assert_eq!(Selector::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn shares_are_few_distinct_and_not_all_zero() {
        assert_eq!(shares(&[(2, 1), (1, 0)]).unwrap().as_slice()[0], Share { number: 1, weight: 0 });
        let six: Vec<_> = (1..=6).map(|number| (number, 1)).collect();
        for bad in [&[][..], &[(1, 0)], &[(0, 1)], &[(1, 1001)], &[(1, 1), (1, 2)], &six] {
            assert_eq!(shares(bad).unwrap_err().field, "versions", "{bad:?}");
        }
    }

    #[test]
    fn sticky_names_are_tokens_and_not_ours() {
        assert_eq!(Sticky::header("X-User").unwrap(), Sticky::Header("x-user".to_owned()));
        assert_eq!(Sticky::cookie("Session_id").unwrap(), Sticky::Cookie("Session_id".to_owned()));
        for bad in ["", "a b", "a:b", "a;b", "a=b", "ä", &"x".repeat(65)] {
            assert_eq!(Sticky::header(bad).unwrap_err().field, "sticky.header", "{bad}");
            assert_eq!(Sticky::cookie(bad).unwrap_err().field, "sticky.cookie", "{bad}");
        }
        assert!(Sticky::cookie("Picasso_session").is_err());
    }

    #[test]
    fn calls_are_shared_out_by_weight() {
        let alias = alias(&[(1, 900), (2, 100), (3, 0)]);
        let mut drawn = [0_u32; 4];
        for _ in 0..10_000 {
            drawn[alias.draw(None) as usize] += 1;
        }
        // 1000 ± 30 is one deviation.
        assert!((700..=1300).contains(&drawn[2]) && drawn[3] == 0 && drawn[0] == 0, "{drawn:?}");
        let sticky = clients_of_two(&alias).len();
        assert!((700..=1300).contains(&sticky), "{sticky}");
    }

    #[test]
    fn one_client_gets_one_version_and_stays_in_a_canary_that_grows() {
        let few = clients_of_two(&alias(&[(1, 900), (2, 100)]));
        assert_eq!(few, clients_of_two(&alias(&[(1, 900), (2, 100)])));
        let more = clients_of_two(&alias(&[(1, 700), (2, 300)]));
        assert!(more.len() > few.len() && few.iter().all(|client| more.contains(client)));
        assert_eq!(clients_of_two(&alias(&[(1, 0), (2, 1)])).len(), 10_000);
    }
}
