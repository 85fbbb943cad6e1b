//! Defaults, file, variables and flags, one upon the other: a value given later takes the place of the earlier one as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::environment::{self, Environment};
use super::error::Error;
use super::node::{Node, Place, Value};
use super::setting::{SectionInfo, Setting, Shape, key, sections};
use super::{FILE_VARIABLE, VARIABLE_PREFIX};

/// Variables that Kubernetes gives every container beside a service named `agent-host`.
const FOREIGN_VARIABLES: [&str; 2] = ["AGENT_HOST_SERVICE_", "AGENT_HOST_PORT"];

/// Variables that Claude needs to reach its model, passed on unless the configuration says otherwise.
const PASSED_TO_CLAUDE: [&str; 3] = ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL"];

/// The variable that programs with OpenTelemetry have in common, and the setting that it is the default of.
const OTLP_ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "telemetry.otlp_endpoint");

/// The database file of the built-in SQLite component, in the data directory.
const DATABASE_FILE: &str = "agent-host.db";

/// The values in force so far, by key.
pub(super) struct Layers {
    sections: Vec<SectionInfo>,
    nodes: BTreeMap<String, Node>,
}

impl Layers {
    /// The defaults that the table of settings names.
    pub(super) fn defaults() -> Self {
        Self::of(sections())
    }

    /// The defaults of these sections.
    pub(super) fn of(sections: Vec<SectionInfo>) -> Self {
        let nodes = sections
            .iter()
            .flat_map(|section| &section.settings)
            .filter_map(|setting| Some((setting.key.clone(), Node::value(&setting.key, &Place::Default, setting.default.as_deref()?)?)))
            .collect();
        Self { sections, nodes }
    }

    /// The values in force, by key.
    pub(super) fn nodes(&self) -> &BTreeMap<String, Node> {
        &self.nodes
    }

    /// Whether nothing gave `key` a value.
    pub(super) fn is_default(&self, key: &str) -> bool {
        self.nodes.get(key).is_none_or(|node| node.place == Place::Default)
    }

    /// That the value of `key` cannot be used.
    pub(super) fn refuse(&self, key: &str, reason: &str) -> Error {
        match self.nodes.get(key) {
            Some(node) => {
                let shown = self.setting(key).map_or(node.value.clone(), |setting| (setting.shown)(&node.value));
                Error::bad_value(&Node { value: shown, ..node.clone() }, reason)
            }
            None => Error::bad_value(&Node::absent(key), reason),
        }
    }

    /// Lays the values of a file over those in force.
    ///
    /// # Errors
    /// If it cannot be read, is not TOML or has a key that there is no setting for.
    pub(super) fn add_file(&mut self, file: &Path, working_dir: &Path) -> Result<(), Error> {
        let text = std::fs::read_to_string(working_dir.join(file)).map_err(|reason| Error::File { path: file.to_owned(), reason })?;
        self.add_table(Node::document(file, &text)?)
    }

    /// Lays the values of a table over those of the section `section`, of which the table is one wherever it stands: in a list, in a request. Errors name them as they
    /// are there.
    ///
    /// # Errors
    /// If it is not a table or has a key that there is no setting for.
    pub(super) fn add_as(&mut self, section: &str, table: &Node) -> Result<(), Error> {
        let Value::Table(nodes) = &table.value else {
            // A secret may be in it.
            return Err(Error::bad_secret(table, "expected a table such as { NAME = \"value\" }"));
        };
        for (name, node) in nodes {
            let key = key(section, name);
            if self.setting(&key).is_none() {
                let hint = format!("there are {}", self.names(section).join(", "));
                return Err(Error::UnknownKey { place: node.key_place.clone(), hint, key: node.key.clone() });
            }
            // An explicit null in a request is as good as nothing.
            if !matches!(node.value, Value::Absent) {
                self.nodes.insert(key, node.clone());
            }
        }
        Ok(())
    }

    fn add_table(&mut self, table: Node) -> Result<(), Error> {
        let Value::Table(nodes) = table.value else {
            return Err(Error::bad_value(&table, format!("it is a section: write [{}]", table.key)));
        };
        for (_, node) in nodes {
            if self.setting(&node.key).is_some() {
                self.nodes.insert(node.key.clone(), node);
            } else if self.sections.iter().any(|section| section.name == node.key) {
                self.add_table(node)?;
            } else {
                return Err(Error::UnknownKey { place: node.key_place, hint: self.hint(&table.key), key: node.key });
            }
        }
        Ok(())
    }

    fn setting(&self, key: &str) -> Option<&Setting> {
        self.sections.iter().flat_map(|section| &section.settings).find(|setting| setting.key == key)
    }

    /// What there is in the section in which an unknown key was found.
    fn hint(&self, section: &str) -> String {
        let names = self.names(section);
        match (section, names.as_slice()) {
            (_, []) => format!("[{section}] has no settings"),
            ("", names) => format!("at the top there are {}", names.join(", ")),
            (_, names) => format!("[{section}] has {}", names.join(", ")),
        }
    }

    /// The names of a section's settings and of the sections below it.
    fn names(&self, section: &str) -> Vec<&str> {
        let settings = self.sections.iter().filter(|info| info.name == section).flat_map(|info| &info.settings);
        let mut names: BTreeSet<&str> = settings.map(|setting| setting.name).collect();
        let below = self.sections.iter().filter_map(|info| match section {
            "" => Some(info.name),
            _ => info.name.strip_prefix(section)?.strip_prefix('.'),
        });
        names.extend(below.filter_map(|rest| rest.split('.').next()).filter(|name| !name.is_empty()));
        names.into_iter().collect()
    }

    /// Lays the values of environment variables over those in force, and gives the names of those that look like settings and are none.
    ///
    /// # Errors
    /// If a variable's value is not text.
    pub(super) fn add_variables(&mut self, environment: &dyn Environment) -> Result<Vec<String>, Error> {
        let mut known = BTreeSet::from([FILE_VARIABLE.to_owned()]);
        let mut nodes = Vec::new();
        for setting in self.sections.iter().flat_map(|section| &section.settings) {
            let variable = setting.variable();
            if let Some(text) = environment::text(environment, &variable)? {
                nodes.push(outside(setting, &Place::Variable(variable.clone()), &text));
            }
            known.insert(variable);
        }
        self.nodes.extend(nodes.into_iter().map(|node| (node.key.clone(), node)));

        let foreign = |name: &String| FOREIGN_VARIABLES.iter().any(|prefix| name.starts_with(prefix));
        let mut unknown = environment.names();
        unknown.retain(|name| name.starts_with(VARIABLE_PREFIX) && !known.contains(name) && !foreign(name));
        unknown.sort();
        Ok(unknown)
    }

    /// Lays the values of flags over those in force.
    pub(super) fn add_flags(&mut self, flags: &BTreeMap<String, String>) {
        let given = |setting: &Setting| Some(outside(setting, &Place::Flag(setting.flag()), flags.get(&setting.key)?));
        let nodes: Vec<Node> = self.sections.iter().flat_map(|section| &section.settings).filter_map(given).collect();
        self.nodes.extend(nodes.into_iter().map(|node| (node.key.clone(), node)));
    }

    /// The defaults that depend on other values and on the environment, where nothing else was given.
    pub(super) fn derive_defaults(&mut self, environment: &dyn Environment) {
        let passed: Vec<(String, Node)> = PASSED_TO_CLAUDE
            .into_iter()
            .filter(|name| matches!(environment::text(environment, name), Ok(Some(_))))
            .map(|name| (name.to_owned(), format!("env:{name}")))
            .map(|(name, reference)| {
                let node = Node::text(&format!("agents.claude-agent-sdk.env.{name}"), &Place::Default, &reference);
                (name, node)
            })
            .collect();
        self.derive("agents.claude-agent-sdk.env", passed);

        let (variable, key) = OTLP_ENDPOINT;
        if let (false, Ok(Some(endpoint))) = (self.nodes.contains_key(key), environment::text(environment, variable)) {
            self.nodes.insert(key.to_owned(), Node::text(key, &Place::Variable(variable.to_owned()), &endpoint));
        }

        let sqlite =
            self.nodes.get("persistence.component").is_some_and(|node| matches!(&node.value, Value::Text(text) if text == "sqlite"));
        if let (true, Some(Node { value: Value::Text(data_dir), place, .. })) = (sqlite, self.nodes.get("data_dir")) {
            // With the place of the directory, so that it is relative to the same.
            let node = Node::text("persistence.grants.databases.main", place, &format!("sqlite:{data_dir}/{DATABASE_FILE}"));
            self.derive("persistence.grants.databases", vec![("main".to_owned(), node)]);
        }
    }

    fn derive(&mut self, key: &str, table: Vec<(String, Node)>) {
        if let Some(node) = self.nodes.get_mut(key).filter(|node| node.place == Place::Default) {
            node.value = Value::Table(table);
        }
    }
}

/// A value that was given as the text of a flag or a variable.
fn outside(setting: &Setting, place: &Place, text: &str) -> Node {
    let toml = Node::value(&setting.key, place, text);
    let is_text = |node: &Node| matches!(node.value, Value::Text(_));
    let is_list = |node: &Node| matches!(node.value, Value::List(_));
    match setting.shape {
        Shape::Text => toml.filter(is_text).unwrap_or_else(|| Node::text(&setting.key, place, text)),
        Shape::Value => toml.unwrap_or_else(|| Node::text(&setting.key, place, text)),
        Shape::List => toml.filter(is_list).unwrap_or_else(|| {
            let element = Node::text(&setting.key, place, text);
            let value = Value::List(vec![element.clone()]);
            Node { value, ..element }
        }),
    }
}
