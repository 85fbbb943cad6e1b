//! `agent-host adapter compose`: an adapter in front of another one, as one component.

use std::path::Path;

use agent_host_registry::Registry;
use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use wac_graph::types::{Package, are_semver_compatible};
use wac_graph::{CompositionGraph, EncodeOptions, PackageId};

use crate::components::{self, registry};
use crate::config::schema;
use crate::data_dir::registry_cache;

/// What the contract's interfaces begin with.
const CONTRACT: &str = "agent-host:persistence/";

/// An adapter in front of another one.
pub struct Composed {
    /// The component.
    pub bytes: Vec<u8>,
    /// Interfaces of the contract that the inner adapter has and the outer one does not pass on, such as `leases`.
    pub hidden: Vec<String>,
}

/// Puts `outer` in front of `inner`: the contract that it imports is what `inner` exports. Both are files, of a registry, or names of components that ship with the host. What
/// either imports besides, the component imports that is made.
///
/// # Errors
/// If either cannot be had or is no component, or they do not fit.
async fn compose(registry: &Registry, outer: &str, inner: &str) -> anyhow::Result<Composed> {
    let (outer_bytes, inner_bytes) = (read(registry, outer).await?, read(registry, inner).await?);
    let mut graph = CompositionGraph::new();
    let (outer_package, inner_package) =
        (register(&mut graph, "outer", outer, &outer_bytes)?, register(&mut graph, "inner", inner, &inner_bytes)?);
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

async fn read(registry: &Registry, component: &str) -> anyhow::Result<Bytes> {
    Ok(registry::named(registry, component).await?.0.bytes()?)
}

/// Adds a component, which the graph calls `role`.
fn register(graph: &mut CompositionGraph, role: &str, component: &str, bytes: &[u8]) -> anyhow::Result<PackageId> {
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
pub async fn write(registries: &schema::Registry, outer: &str, inner: &str, file: &Path) -> anyhow::Result<Composed> {
    let scratch = tempfile::tempdir().context("failed to make a directory for what is pulled from a registry")?;
    let registry = registry::registry(registries, registry_cache(scratch.path()))?;
    let composed = compose(&registry, outer, inner).await?;
    components::write(file, &composed.bytes)?;
    Ok(composed)
}
