//! Options in the URL of a MariaDB server: those of SQLAlchemy and PyMySQL, which the configuration of
//! an OpenStack service has, under the names that the driver knows. An option that means nothing here
//! is refused: left out in silence, it could be the one that demands encryption.

use url::Url;

const FILES: [(&str, [&str; 3]); 3] = [
    ("ssl-ca", ["ssl-ca", "ssl_ca", "sslca"]),
    ("ssl-cert", ["ssl-cert", "ssl_cert", "sslcert"]),
    ("ssl-key", ["ssl-key", "ssl_key", "sslkey"]),
];
const MODES: [&str; 5] = ["disabled", "preferred", "required", "verify_ca", "verify_identity"];

/// The same URL with the driver's names of its options. A certificate authority without a mode means
/// that the server's certificate and name are checked, as PyMySQL does.
pub(super) fn with_known_options(url: &Url) -> Result<Url, String> {
    let mut known = url.clone();
    known.set_query(None);
    let (mut mode, mut has_ca) = (None, false);
    for (name, value) in url.query_pairs() {
        let file = FILES.iter().find(|(_, names)| names.contains(&&*name));
        match (&*name, file) {
            (_, Some((name, _))) => {
                known.query_pairs_mut().append_pair(name, &value);
                has_ca |= *name == "ssl-ca";
            }
            ("ssl-mode" | "ssl_mode" | "sslmode", _) => mode = Some(mode_of(&value)?),
            ("socket" | "unix_socket", _) => {
                known.query_pairs_mut().append_pair("socket", &value);
            }
            // Always utf8mb4.
            ("charset", _) => {}
            // Not quoted: what stands where an option should may be a piece of the password.
            _ => {
                return Err(
                    "has an option that is not known for MariaDB; known are ssl-mode, ssl-ca, ssl-cert, \
                            ssl-key, socket and charset"
                        .to_owned(),
                );
            }
        }
    }
    let default = if has_ca { "verify_identity" } else { "preferred" };
    known.query_pairs_mut().append_pair("ssl-mode", mode.unwrap_or(default));
    Ok(known)
}

fn mode_of(text: &str) -> Result<&'static str, String> {
    let text = text.to_ascii_lowercase().replace('-', "_");
    MODES
        .into_iter()
        .find(|mode| *mode == text)
        .ok_or_else(|| format!("has an ssl-mode that is not known: use {}", MODES.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Result<String, String> {
        let url = format!("mysql://u:sesame@h/d{text}").parse().unwrap();
        with_known_options(&url).map(|url| url.query().unwrap_or_default().to_owned())
    }

    #[test]
    fn options_of_openstacks_urls_get_the_names_that_the_driver_knows() {
        for (given, known) in [
            ("", "ssl-mode=preferred"),
            ("?charset=utf8", "ssl-mode=preferred"),
            ("?ssl_ca=/etc/ca.pem", "ssl-ca=%2Fetc%2Fca.pem&ssl-mode=verify_identity"),
            ("?sslca=/ca&ssl-mode=VERIFY_CA", "ssl-ca=%2Fca&ssl-mode=verify_ca"),
            ("?ssl_cert=/c&ssl_key=/k&sslmode=required", "ssl-cert=%2Fc&ssl-key=%2Fk&ssl-mode=required"),
            ("?unix_socket=/run/m.sock", "socket=%2Frun%2Fm.sock&ssl-mode=preferred"),
        ] {
            assert_eq!(query(given).unwrap(), known, "{given}");
        }
    }

    #[test]
    fn options_that_mean_nothing_are_refused_without_quoting_them() {
        for given in ["?ssl_verify=1", "?sesame", "?ssl-mode=sesame"] {
            let told = query(given).unwrap_err();
            assert!(told.contains("not known") && !told.contains("sesame"), "{told}");
        }
    }
}
