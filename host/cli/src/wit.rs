//! The contract with components as files, for those who write one.

use std::io;
use std::path::Path;

use anyhow::Context as _;

/// A WIT package: everything that it says is in one text.
struct Package {
    /// `agent-host-types-0.1.0`: where tools for WIT put a dependency.
    directory: &'static str,
    text: &'static str,
}

/// All of them. None depends on one that is not here.
const PACKAGES: [Package; 6] = [
    Package { directory: "agent-host-hooks-0.1.0", text: include_str!("../../../wit/0.1/hooks/hooks.wit") },
    Package { directory: "agent-host-http-0.1.0", text: include_str!("../../../wit/0.1/http/http.wit") },
    Package { directory: "agent-host-persistence-0.1.0", text: include_str!("../../../wit/0.1/persistence/persistence.wit") },
    Package { directory: "agent-host-sql-0.1.0", text: include_str!("../../../wit/0.1/sql/sql.wit") },
    Package { directory: "agent-host-types-0.1.0", text: include_str!("../../../wit/0.1/types/types.wit") },
    Package { directory: "wasi-logging-0.1.0-draft", text: include_str!("../../../wit/0.1/logging/logging.wit") },
];

/// What a package's text is in.
const FILE: &str = "package.wit";

/// What is to be known of the contract besides its texts.
const RULES: &str = include_str!("../../../wit/README.md");

/// Writes the packages as dependencies of a package of WIT, as `wkg wit fetch` does: `DIRECTORY/agent-host-types-0.1.0/package.wit`.
///
/// # Errors
/// If a file cannot be written.
pub fn write(directory: &Path) -> anyhow::Result<()> {
    for package in &PACKAGES {
        let directory = directory.join(package.directory);
        std::fs::create_dir_all(&directory).with_context(|| format!("failed to make {}", directory.display()))?;
        let path = directory.join(FILE);
        std::fs::write(&path, package.text).with_context(|| format!("failed to write {}", path.display()))?;
    }
    Ok(())
}

/// The same files as an archive (tar), the same bytes each time.
///
/// # Errors
/// Those of making it, which is done in memory.
pub fn archive() -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for package in &PACKAGES {
        let mut header = tar::Header::new_ustar();
        header.set_size(package.text.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, format!("{}/{FILE}", package.directory), package.text.as_bytes())?;
    }
    archive.into_inner()
}

/// The contract of a persistence adapter as one page of Markdown: the rules, what is tried, and all of WIT that an adapter can meet.
pub fn adapter_page() -> String {
    let promises: String = agent_host_kit::list().map(|check| format!("| `{}` | {} |\n", check.name, check.promise)).collect();
    // The first heading is the page's own, and what is linked there is not beside a page that was printed.
    let rules = RULES.split_once("\n## ").map_or(RULES, |(_, rules)| rules);
    let rules = rules.split_once("\n## From the earlier system").map_or(rules, |(rules, _)| rules);
    let texts: String = PACKAGES
        .iter()
        .filter(|package| !package.directory.starts_with("agent-host-hooks"))
        .map(|package| format!("\n## `{}`\n\n```wit\n{}```\n", package.directory, package.text))
        .collect();
    format!(
        "# The contract of a persistence adapter\n\n## {rules}\n## What is tried\n\n`agent-host adapter test` tries these promises.\n\n| check | promise |\n| --- | --- |\n{promises}{texts}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packages_are_those_of_the_repository() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit/0.1");
        let mut there: Vec<String> = std::fs::read_dir(directory)
            .unwrap()
            .flat_map(|entry| std::fs::read_dir(entry.unwrap().path()).unwrap())
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "wit"))
            .map(|path| std::fs::read_to_string(path).unwrap())
            .collect();
        let mut here: Vec<String> = PACKAGES.iter().map(|package| package.text.to_owned()).collect();
        there.sort();
        here.sort();
        assert_eq!(there, here);
        for package in &PACKAGES {
            let declared = package.text.lines().find(|line| line.starts_with("package ")).unwrap();
            let name = declared.trim_start_matches("package ").trim_end_matches(';').replace([':', '@'], "-");
            assert_eq!(name, package.directory);
        }
    }

    #[test]
    fn the_archive_has_what_is_written() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path()).unwrap();
        let bytes = archive().unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let mut count = 0;
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let written = std::fs::read_to_string(directory.path().join(entry.path().unwrap())).unwrap();
            let mut text = String::new();
            io::Read::read_to_string(&mut entry, &mut text).unwrap();
            assert_eq!(text, written);
            count += 1;
        }
        assert_eq!(count, PACKAGES.len());
    }

    #[test]
    fn the_page_has_the_rules_the_promises_and_the_interfaces() {
        let page = adapter_page();
        for expected in [
            "# The contract of a persistence adapter\n\n## Rules that hold everywhere",
            "`offset-mismatch",
            "streams.append_is_idempotent",
            "interface leases {",
        ] {
            assert!(page.contains(expected), "{expected}");
        }
        assert!(!page.contains("nine operations") && !page.contains("event-hook {"));
    }
}
