//! Absent values: what stands for a field that the daemon leaves out or calls null.
//!
//! Templates are written against the types of Docker's API, where such a field is an empty list,
//! an empty map, an empty text or nothing, by its type. The answers do not carry types, so the
//! ones that matter are here by name; other nulls are lists, which is what most are.

use crate::json::Json;

/// Fields that are nothing.
const NOTHING: [&str; 18] = [
    "ConsoleSize",
    "Health",
    "Healthcheck",
    "IPAMConfig",
    "ImageManifestDescriptor",
    "Init",
    "MemorySwappiness",
    "Node",
    "OomKillDisable",
    "PidsLimit",
    "Platform",
    "Server",
    "SizeRootFs",
    "SizeRw",
    "Status",
    "StopTimeout",
    "VirtualSize",
    "Descriptor",
];
/// Fields that are maps.
const MAPS: [&str; 13] = [
    "Annotations",
    "DriverOpts",
    "ExposedPorts",
    "Labels",
    "Networks",
    "Options",
    "PortBindings",
    "Ports",
    "StorageOpt",
    "Sysctls",
    "Tmpfs",
    "Volumes",
    "Config",
];
/// Fields that are texts.
const TEXTS: [&str; 7] =
    ["Comment", "Error", "MacAddress", "Parent", "StopSignal", "Author", "Variant"];
/// Fields that are lists and may be left out.
const LISTS: [&str; 6] = ["DeviceRequests", "ExecIDs", "Mounts", "OnBuild", "Shell", "Warnings"];

/// The empty value of the kind that the field `name` has.
pub(super) fn of(name: &str) -> Option<Json> {
    let is = |names: &[&str]| names.contains(&name);
    if is(&NOTHING) {
        Some(Json::Null)
    } else if is(&MAPS) {
        Some(Json::Object(Vec::new()))
    } else if is(&TEXTS) {
        Some(Json::Text(String::new()))
    } else {
        is(&LISTS).then(|| Json::List(Vec::new()))
    }
}
