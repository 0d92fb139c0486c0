//! The walls: which crate may use which (ARCHITECTURE.md, "Code map").

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId};

use crate::shell;

/// A crate, and the crates of ours that it may use.
const WALLS: &[(&str, &[&str])] = &[
    ("wadah-oci", &[]),
    ("wadah-sys", &[]),
    ("wadah-store", &["wadah-oci", "wadah-sys"]),
    ("wadah-net", &["wadah-sys"]),
    ("wadah-runtime", &["wadah-oci", "wadah-sys"]),
    ("wadah-shim", &["wadah-runtime", "wadah-oci", "wadah-sys"]),
    ("wadah-engine", &["wadah-store", "wadah-net", "wadah-shim", "wadah-oci"]),
    ("wadah-api", &["wadah-engine", "wadah-oci"]),
    ("wadah-cli", &[]),
    (
        "wadah",
        &[
            "wadah-api",
            "wadah-cli",
            "wadah-engine",
            "wadah-oci",
            "wadah-runtime",
            "wadah-shim",
            "wadah-sys",
        ],
    ),
    ("wadah-testkit", &["wadah-sys"]),
    ("xtask", &["wadah-testkit", "wadah-sys"]),
];

/// Crates that must stay free of an async runtime, whatever they link.
const WITHOUT_TOKIO: &[&str] =
    &["wadah-oci", "wadah-sys", "wadah-store", "wadah-net", "wadah-runtime", "wadah-shim"];

/// How many crates of others the lock file may name. Raise it in a commit that says why.
const DEPENDENCY_CAP: usize = 230;

/// The licences that a dependency may have, one of them at least.
const LICENSES: &[&str] = &[
    "Apache-2.0",
    "MIT",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "ISC",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "0BSD",
    "CC0-1.0",
    "MIT-0",
    "Apache-2.0 WITH LLVM-exception",
];

/// Lists what breaks a wall.
pub(crate) fn check() -> Result<Vec<String>> {
    let metadata = MetadataCommand::new().current_dir(shell::top()).exec()?;
    let mut problems = edges(&metadata);
    problems.extend(asynchronous(&metadata));
    problems.extend(others(&metadata));
    Ok(problems)
}

fn edges(metadata: &Metadata) -> Vec<String> {
    let mut problems = Vec::new();
    for package in metadata.workspace_packages() {
        let Some((_, allowed)) = WALLS.iter().find(|(name, _)| **name == *package.name) else {
            problems.push(format!("{}: not in the table of walls", package.name));
            continue;
        };
        let ours = package
            .dependencies
            .iter()
            .filter(|it| it.path.is_some() && it.kind == DependencyKind::Normal);
        for dependency in ours.filter(|it| !allowed.contains(&it.name.as_str())) {
            problems.push(format!("{} must not use {}", package.name, dependency.name));
        }
    }
    problems
}

fn asynchronous(metadata: &Metadata) -> Vec<String> {
    let linked = Linked::new(metadata);
    let walled = metadata
        .workspace_packages()
        .into_iter()
        .filter(|it| WITHOUT_TOKIO.contains(&it.name.as_str()));
    let guilty = walled.filter(|it| linked.reaches(&it.id, "tokio"));
    guilty.map(|it| format!("{} links tokio", it.name)).collect()
}

fn others(metadata: &Metadata) -> Vec<String> {
    let others: Vec<&Package> = metadata.packages.iter().filter(|it| it.source.is_some()).collect();
    let mut problems = Vec::new();
    if others.len() > DEPENDENCY_CAP {
        problems.push(format!("{} dependencies, the cap is {DEPENDENCY_CAP}", others.len()));
    }
    let is_free = |it: &&&Package| it.license.as_deref().is_some_and(is_permissive);
    let strict = others.iter().filter(|it| !is_free(it));
    problems.extend(
        strict.map(|it| format!("{}: licence {:?} is not on the list", it.name, it.license)),
    );
    problems
}

/// Reads an SPDX expression the simple way: every `AND` term has an `OR` choice on the list.
fn is_permissive(expression: &str) -> bool {
    let plain = expression.replace(['(', ')'], "").replace('/', " OR ");
    plain.split(" AND ").all(|term| term.split(" OR ").any(|it| LICENSES.contains(&it.trim())))
}

/// Who links whom, development and build dependencies left out.
struct Linked<'a> {
    edges: BTreeMap<&'a PackageId, Vec<&'a PackageId>>,
    names: BTreeMap<&'a PackageId, &'a str>,
}

impl<'a> Linked<'a> {
    fn new(metadata: &'a Metadata) -> Self {
        let nodes = metadata.resolve.iter().flat_map(|it| &it.nodes);
        let normal = |it: &&'a cargo_metadata::NodeDep| {
            it.dep_kinds.iter().any(|it| it.kind == DependencyKind::Normal)
        };
        let edges = nodes
            .map(|it| (&it.id, it.deps.iter().filter(normal).map(|it| &it.pkg).collect()))
            .collect();
        let names = metadata.packages.iter().map(|it| (&it.id, it.name.as_str())).collect();
        Self { edges, names }
    }

    fn reaches(&self, from: &'a PackageId, name: &str) -> bool {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(id) = next.pop() {
            if self.names.get(id) == Some(&name) {
                return true;
            }
            if seen.insert(id) {
                next.extend(self.edges.get(id).into_iter().flatten());
            }
        }
        false
    }
}
