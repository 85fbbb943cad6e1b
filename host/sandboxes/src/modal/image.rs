//! What is in the image of a sandbox.

use agent_host_modal::{Files, Image};
use agent_host_session::ports::sandbox::{Needs, Project};

use super::PROJECTS;

/// The script that installs a project, in its directory.
const INSTALL: &str = ".agent-host-install.sh";

/// What an image is made of. The same is built once.
#[derive(Clone, Debug)]
pub(super) struct Recipe {
    /// A tag of a registry.
    pub(super) base: String,
    /// npm packages with the agent programs.
    pub(super) agents: Vec<String>,
    /// What the profile wants.
    pub(super) needs: Needs,
    /// The files of its projects.
    pub(super) projects: Vec<Files>,
}

impl Recipe {
    /// The layers: the agent programs, which are the same for all profiles, come first.
    pub(super) fn image(&self) -> Image {
        let install = |packages: &[String]| packages.iter().map(|package| quoted(package)).collect::<Vec<_>>().join(" ");
        let mut image = Image::from_registry(&self.base);
        if !self.agents.is_empty() {
            let tools =
                "RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates git && rm -rf /var/lib/apt/lists/*";
            image = image.dockerfile_commands([tools.to_owned(), format!("RUN npm install --global {}", install(&self.agents))]);
        }
        if !self.needs.npm_packages.is_empty() {
            image = image.dockerfile_commands([format!("RUN npm install --global {}", install(&self.needs.npm_packages))]);
        }
        if !self.needs.pip_packages.is_empty() {
            let python =
                "RUN apt-get update && apt-get install -y --no-install-recommends python3 python3-pip && rm -rf /var/lib/apt/lists/*";
            let packages = format!("RUN pip3 install --no-cache-dir --break-system-packages {}", install(&self.needs.pip_packages));
            image = image.dockerfile_commands([python.to_owned(), packages]);
        }
        for (Project { name, install, .. }, files) in self.needs.projects.iter().zip(&self.projects) {
            let directory = format!("{PROJECTS}/{name}");
            // As a file it may have several lines, which a command in a Dockerfile may not.
            let files = files.clone().file(INSTALL, install.clone());
            image = image.copy(files, &directory).dockerfile_commands([format!("RUN cd {} && sh ./{INSTALL}", quoted(&directory))]);
        }
        image
    }
}

/// A word for the shell. Packages and names come from profiles, which are data.
fn quoted(word: &str) -> String {
    // A line of a Dockerfile ends with the line.
    let word: String = word.chars().filter(|character| !character.is_control()).collect();
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe() -> Recipe {
        Recipe { base: "node:22-slim".to_owned(), agents: vec!["a@1".to_owned()], needs: Needs::default(), projects: Vec::new() }
    }

    #[test]
    fn what_differs_is_another_image_and_what_is_the_same_is_not() {
        assert_eq!(recipe().image(), recipe().image());
        let package = || vec!["b".to_owned()];
        let npm = Needs { npm_packages: package(), ..Needs::default() };
        let pip = Needs { pip_packages: package(), ..Needs::default() };
        for needs in [npm, pip] {
            assert_ne!(Recipe { needs, ..recipe() }.image(), recipe().image());
        }
    }

    #[test]
    fn a_package_is_one_word_whatever_its_name() {
        assert_eq!(quoted("x@>=1"), "'x@>=1'");
        assert_eq!(quoted("x'; rm -rf / #\nRUN evil"), r"'x'\''; rm -rf / #RUN evil'");
    }
}
