//! The settings of the configuration as flags, and where help shows them.

use std::collections::BTreeMap;

use clap::{Arg, ArgMatches, Args, Command as Clap, FromArgMatches};

use crate::config::setting::{SectionInfo, Setting, sections};

/// The settings that were given as flags: the whole key and the text. The flags are those of the table of settings.
#[derive(Clone, Debug, Default)]
pub struct SettingFlags(pub BTreeMap<String, String>);

impl Args for SettingFlags {
    fn augment_args(command: Clap) -> Clap {
        sections().iter().fold(command, |command, section| command.args(section.settings.iter().map(|setting| argument(section, setting))))
    }

    fn augment_args_for_update(command: Clap) -> Clap {
        Self::augment_args(command)
    }
}

impl FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for setting in sections().into_iter().flat_map(|section| section.settings) {
            if let Some(text) = matches.get_one::<String>(&setting.key) {
                self.0.insert(setting.key, text.clone());
            }
        }
        Ok(())
    }
}

fn argument(section: &SectionInfo, setting: &Setting) -> Arg {
    // Markdown's quotes are for the README.
    let plain = |text: &str| text.replace('`', "");
    let default = setting.default.as_deref().unwrap_or("none");
    let long = format!(
        "{}\n\nType: {}\nDefault: {default} ({})\nEnvironment variable: {}",
        plain(&setting.doc),
        plain(&setting.type_name),
        plain(setting.reason),
        setting.variable()
    );
    let first_sentence = setting.doc.split(". ").next().unwrap_or_default().trim_end_matches('.');
    let heading = if section.name.is_empty() { "Host".to_owned() } else { format!("Settings of [{}]", section.name) };
    Arg::new(setting.key.clone())
        .long(setting.flag().trim_start_matches('-').to_owned())
        .value_name("VALUE")
        .help(format!("{} [default: {default}]", plain(first_sentence)))
        .long_help(long)
        .help_heading(heading)
        .global(true)
        // A path, a text or an argument may begin with a hyphen.
        .allow_hyphen_values(true)
}

/// The program, whose commands show none of the settings that each of them takes: what is its own would not be seen among hundreds of lines.
pub(super) fn shown_once(command: Clap) -> Clap {
    let settings = command.get_arguments().filter(|argument| argument.is_global_set() && argument.get_id() != "config");
    let hidden: Vec<Arg> = settings.map(|setting| setting.clone().hide(true)).collect();
    command.mut_subcommands(|command| with_note(command.args(&hidden)))
}

fn with_note(command: Clap) -> Clap {
    command.after_help("The settings of a host, which `agent-host --help` lists, can be given here, too.").mut_subcommands(with_note)
}
