//! Which formats the sandbox runtime of this node carries.
//!
//! A format needs a way into the sandbox that not every runtime has: the stream formats need the
//! standard streams only, `http-stream` a folder shared with the function, `lambda` and
//! `http-server` a socket within the sandbox's network.

use picasso_sandbox::Features;
use picasso_types::Format;

/// A format that the runtime does not carry; a sentence for the route's owner.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{format}\" is not carried by this cloud's sandbox runtime {runtime}; it carries {}", list(.carried))]
pub struct FormatNotCarried {
    /// The format asked for.
    pub format: Format,
    /// The runtime's name.
    pub runtime: &'static str,
    /// The formats it does carry.
    pub carried: Vec<Format>,
}

fn list(formats: &[Format]) -> String {
    formats.iter().map(|format| format!("\"{format}\"")).collect::<Vec<_>>().join(", ")
}

/// Whether a runtime with these features carries the format.
pub(crate) fn carries(features: Features, format: Format) -> bool {
    match format {
        Format::Default | Format::Http | Format::Json => true,
        Format::HttpStream => features.socket_folder,
        Format::Lambda | Format::HttpServer => features.ports,
    }
}

/// The refusal of a format that the runtime does not carry.
pub(crate) fn check(
    runtime: &'static str,
    features: Features,
    format: Format,
) -> Result<(), FormatNotCarried> {
    if carries(features, format) {
        return Ok(());
    }
    let carried = Format::ALL.iter().copied().filter(|format| carries(features, *format)).collect();
    Err(FormatNotCarried { format, runtime, carried })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_runtime_carries_the_stream_formats_and_the_others_where_it_has_the_way_in() {
        let none = Features { egress: false, socket_folder: false, ports: false };
        for (features, carried) in [
            (none, vec![Format::Default, Format::Http, Format::Json]),
            (
                Features { socket_folder: true, ..none },
                vec![Format::Default, Format::Http, Format::Json, Format::HttpStream],
            ),
            (Features { socket_folder: true, ports: true, ..none }, Format::ALL.to_vec()),
        ] {
            for format in Format::ALL.iter().copied() {
                let answer = check("oci", features, format);
                assert_eq!(answer.is_ok(), carried.contains(&format), "{format}: {answer:?}");
            }
        }
    }

    #[test]
    fn the_refusal_names_the_format_the_runtime_and_what_works() {
        let features = Features { egress: false, socket_folder: false, ports: false };
        assert_eq!(
            check("oci", features, Format::Lambda).unwrap_err().to_string(),
            "\"lambda\" is not carried by this cloud's sandbox runtime oci; it carries \"default\", \"http\", \
             \"json\""
        );
    }
}
