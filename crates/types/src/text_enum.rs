//! Enumerations that clients and the store see as texts.

/// Makes an enumeration whose values have one text each: for JSON, for the store, and for the sentence
/// that refuses another one.
macro_rules! text_enum {
    ($(#[$doc:meta])* $name:ident, $field:literal { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ::serde::Serialize, ::serde::Deserialize)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $text)] $variant),+
        }

        impl $name {
            /// Every value there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Parses the text form; the fault names the field and lists what is allowed.
            pub fn parse(text: &str) -> Result<Self, $crate::fault::FieldFault> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err($crate::fault::FieldFault::new($field, concat!("must be one of:", $(" \"", $text, "\""),+))),
                }
            }

            /// The text form, as clients and the store see it.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text),+
                }
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use text_enum;
