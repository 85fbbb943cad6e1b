//! `agent-host adapter compose`: an adapter in front of another one, as one component.

use std::path::{Path, PathBuf};

use agent_host_wasm::Source;
use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use wac_graph::types::{Package, are_semver_compatible};
use wac_graph::{CompositionGraph, EncodeOptions, PackageId};

use crate::components::{builtin, builtin_names};

/// What the contract's interfaces begin with.
const CONTRACT: &str = "agent-host:persistence/";

/// An adapter in front of another one.
pub struct Composed {
    /// The component.
    pub bytes: Vec<u8>,
    /// Interfaces of the contract that the inner adapter has and the outer one does not pass on, such as `leases`.
    pub hidden: Vec<String>,
}

/// Puts `outer` in front of `inner`: the contract that it imports is what `inner` exports. Both are files, or names of components that ship with the host. What either
/// imports besides, the component imports that is made.
///
/// # Errors
/// If either is no component, or they do not fit.
pub fn compose(outer: &str, inner: &str) -> anyhow::Result<Composed> {
    let mut graph = CompositionGraph::new();
    let (outer_package, inner_package) = (register(&mut graph, "outer", outer)?, register(&mut graph, "inner", inner)?);
    let (wanted, exported) = (imports(&graph, outer_package), exports(&graph, outer_package));
    let (unmet, offered) = (imports(&graph, inner_package), exports(&graph, inner_package));
    ensure!(
        wanted.iter().any(|name| is_contract(name)),
        "{outer} is not made to be put in front of another adapter: it imports nothing of {CONTRACT}*"
    );
    if let Some(name) = unmet.iter().find(|name| is_contract(name)) {
        bail!("{inner} imports {name} itself: it is to be composed with the adapter behind it first");
    }

    let outer_instance = graph.instantiate(outer_package);
    let inner_instance = graph.instantiate(inner_package);
    for name in wanted.iter().filter(|name| is_contract(name)) {
        let Some(offer) = offered.iter().find(|offer| *offer == name || are_semver_compatible(offer, name)) else {
            let offers: Vec<_> = offered.iter().filter(|offer| is_contract(offer)).map(String::as_str).collect();
            let offers = if offers.is_empty() { "nothing of the contract".to_owned() } else { offers.join(", ") };
            bail!("{outer} imports {name}, which {inner} does not export; it exports {offers}");
        };
        let export = graph.alias_instance_export(inner_instance, offer).with_context(|| format!("failed to find {offer} in {inner}"))?;
        graph
            .set_instantiation_argument(outer_instance, name, export)
            .with_context(|| format!("{outer} and {inner} were made for different versions of {name}"))?;
    }
    for name in &exported {
        let export = graph.alias_instance_export(outer_instance, name).with_context(|| format!("failed to find {name} in {outer}"))?;
        graph.export(export, name).with_context(|| format!("failed to export {name}"))?;
    }
    let bytes = graph.encode(EncodeOptions::default()).with_context(|| format!("failed to put {outer} in front of {inner}"))?;
    let hidden = offered.into_iter().filter(|offer| is_contract(offer) && !exported.contains(offer)).collect();
    Ok(Composed { bytes, hidden })
}

fn is_contract(name: &str) -> bool {
    name.starts_with(CONTRACT)
}

/// Reads a component, which the graph calls `role`.
fn register(graph: &mut CompositionGraph, role: &str, component: &str) -> anyhow::Result<PackageId> {
    let source = match builtin(component) {
        Some(source) => source,
        None => {
            let path = PathBuf::from(component);
            ensure!(path.is_file(), "there is no component {component}: it is a file, or one of {}", builtin_names());
            Source::File(path)
        }
    };
    let bytes: Bytes = source.bytes()?;
    let package =
        Package::from_bytes(role, None, bytes.to_vec(), graph.types_mut()).with_context(|| format!("{component} is no component"))?;
    graph.register_package(package).with_context(|| format!("failed to take {component}"))
}

fn imports(graph: &CompositionGraph, package: PackageId) -> Vec<String> {
    graph.types()[graph[package].ty()].imports.keys().cloned().collect()
}

fn exports(graph: &CompositionGraph, package: PackageId) -> Vec<String> {
    graph.types()[graph[package].ty()].exports.keys().cloned().collect()
}

/// Writes what [`compose`] makes to a file.
///
/// # Errors
/// Those of [`compose`]; if the file cannot be written.
pub fn write(outer: &str, inner: &str, file: &Path) -> anyhow::Result<Composed> {
    let composed = compose(outer, inner)?;
    std::fs::write(file, &composed.bytes).with_context(|| format!("failed to write {}", file.display()))?;
    Ok(composed)
}
