//! The components that ship with the host, built by its build script.

/// Names and bytes. The component `sql` speaks the SQL of whichever database it is granted.
const COMPONENTS: [(&str, &[u8]); 3] = [
    ("sql", include_bytes!(env!("AGENT_HOST_COMPONENT_SQL"))),
    ("postgresql", include_bytes!(env!("AGENT_HOST_COMPONENT_SQL"))),
    ("memory", include_bytes!(env!("AGENT_HOST_COMPONENT_MEMORY"))),
];

/// The component's bytes.
pub(crate) fn find(name: &str) -> Option<&'static [u8]> {
    COMPONENTS.iter().find(|(known, _)| *known == name).map(|(_, bytes)| *bytes)
}

/// The names of all components that ship with the host.
pub fn names() -> impl Iterator<Item = &'static str> {
    COMPONENTS.iter().map(|(name, _)| *name)
}
