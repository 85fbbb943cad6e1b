//! What a setting is, and the macro that makes the structs and the table of settings from one text.

use super::VARIABLE_PREFIX;
use super::error::Error;
use super::layers::Layers;
use super::node::{Node, Value};
use super::read::{Context, Read, Reader};

/// A table of the configuration file.
#[derive(Clone, Debug)]
pub struct SectionInfo {
    /// Its whole key; empty for the document itself.
    pub name: &'static str,
    /// What it is about.
    pub about: String,
    /// Its settings, in the order of the reference.
    pub settings: Vec<Setting>,
}

/// A value that can be configured.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The whole key: `session.idle_timeout`.
    pub key: String,
    /// The last part of the key.
    pub name: &'static str,
    /// For people: `duration`.
    pub type_name: String,
    /// How a text from outside a file becomes a value.
    pub shape: Shape,
    /// What may be shown of a value: not what may be a secret.
    pub(super) shown: fn(&Value) -> Value,
    /// As TOML; `None` if it has no value unless it is given one.
    pub default: Option<String>,
    /// What it does.
    pub doc: String,
    /// Why the default is what it is.
    pub reason: &'static str,
}

/// How the text of a flag or a variable becomes a value. Where TOML is tried, what does not parse is taken as a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// The text itself, unless it is a TOML string in quotes.
    Text,
    /// A TOML value.
    Value,
    /// A TOML array, or else a single element.
    List,
}

impl Setting {
    /// The setting `name` of `section`, whose values are of type `T`. The default is TOML, or `none`.
    pub(super) fn of_type<T: Read>(
        section: &'static str,
        name: &'static str,
        default: &'static str,
        doc: &[&str],
        reason: &'static str,
    ) -> Self {
        Self {
            key: key(section, name),
            name,
            type_name: T::type_name(),
            shape: T::SHAPE,
            shown: T::shown,
            // The compiler writes a long list on several lines.
            default: (default != "none").then(|| default.lines().map(str::trim).collect::<Vec<_>>().join(" ")),
            doc: paragraphs(doc),
            reason,
        }
    }

    /// The flag: `--session.idle-timeout`.
    pub fn flag(&self) -> String {
        format!("--{}", self.key.replace('_', "-"))
    }

    /// The environment variable: `AGENT_HOST_SESSION_IDLE_TIMEOUT`.
    pub fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{}", self.key.replace(['.', '-'], "_").to_uppercase())
    }
}

/// A struct whose fields are settings and further sections.
pub(super) trait Section: Sized {
    /// Adds itself and the sections below it.
    fn describe(sections: &mut Vec<SectionInfo>);

    /// Takes the values of its settings.
    ///
    /// # Errors
    /// The first value that cannot be used.
    fn read(reader: &Reader<'_>) -> Result<Self, Error>;

    /// The same from a table that stands elsewhere than the section's own name says.
    ///
    /// # Errors
    /// A key that there is no setting for, or the first value that cannot be used.
    fn read_from(table: &Node, context: &Context<'_>) -> Result<Self, Error> {
        let mut sections = Vec::new();
        Self::describe(&mut sections);
        let name = sections.first().map_or("", |section| section.name);
        let mut layers = Layers::of(sections);
        layers.add_as(name, table)?;
        Self::read(&Reader { nodes: layers.nodes(), context })
    }
}

/// The document's key of a setting.
pub(super) fn key(section: &str, name: &str) -> String {
    if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") }
}

/// The lines of a doc comment as one text, in which an empty line stays a paragraph.
pub(super) fn paragraphs(lines: &[&str]) -> String {
    let lines: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
    lines.split(|line| line.is_empty()).map(|paragraph| paragraph.join(" ")).collect::<Vec<_>>().join("\n\n")
}

/// All sections, the document itself first.
pub fn sections() -> Vec<SectionInfo> {
    let mut sections = Vec::new();
    super::schema::Config::describe(&mut sections);
    sections
}

/// What the elements of lists of tables are like: each stands for itself and is no table of the document.
pub fn elements() -> Vec<SectionInfo> {
    let mut sections = Vec::new();
    super::schema::Hook::describe(&mut sections);
    sections
}

/// All settings, in the order of the reference.
#[cfg(test)]
pub(super) fn settings() -> Vec<Setting> {
    sections().into_iter().flat_map(|section| section.settings).collect()
}

/// Defines a section: a struct with a field for each setting, and what the table of settings says of it.
///
/// `field: Type = DEFAULT because "REASON";` with the default as TOML, or `none`.
/// The sections below it follow in `with { field: Section; }`, those that have no settings, and so no field, in `and { "section"; }`.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        $name:ident in $section:literal {
            $(
                $(#[doc = $doc:literal])+
                $field:ident: $type:ty = $default:tt because $reason:literal;
            )*
        }
        $(with { $( $(#[doc = $child_doc:literal])+ $child:ident: $child_type:ident; )+ })?
        $(and { $( $(#[doc = $empty_doc:literal])+ $empty:literal; )+ })?
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug)]
        pub struct $name {
            $(
                $(#[doc = $doc])+
                #[doc = ""]
                #[doc = concat!("Default: `", stringify!($default), "`: ", $reason)]
                pub $field: $type,
            )*
            $($(
                $(#[doc = $child_doc])+
                pub $child: $child_type,
            )+)?
        }

        impl $crate::config::setting::Section for $name {
            fn describe(sections: &mut Vec<$crate::config::setting::SectionInfo>) {
                sections.push($crate::config::setting::SectionInfo {
                    name: $section,
                    about: $crate::config::setting::paragraphs(&[$($about),+]),
                    settings: vec![$(
                        $crate::config::setting::Setting::of_type::<$type>(
                            $section,
                            stringify!($field),
                            stringify!($default),
                            &[$($doc),+],
                            $reason,
                        ),
                    )*],
                });
                $($( <$child_type as $crate::config::setting::Section>::describe(sections); )+)?
                $($(
                    sections.push($crate::config::setting::SectionInfo {
                        name: $empty,
                        about: $crate::config::setting::paragraphs(&[$($empty_doc),+]),
                        settings: Vec::new(),
                    });
                )+)?
            }

            fn read(reader: &$crate::config::read::Reader<'_>) -> Result<Self, $crate::config::Error> {
                Ok(Self {
                    $( $field: reader.setting($section, stringify!($field))?, )*
                    $($( $child: $crate::config::setting::Section::read(reader)?, )+)?
                })
            }
        }
    };
}
pub(super) use section;
