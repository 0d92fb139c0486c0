//! Which operation a method and path ask for.
//!
//! **Invariant:** [`ROUTES`] has every documented operation of the Engine API, and those that are
//! routed but not documented. What is not served has no [`Operation`], and answers 501.

use hyper::Method;

use crate::{error::ApiError, query::decode};

/// The operations that are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    ContainerList,
    ContainerCreate,
    ContainerInspect,
    ContainerTop,
    ContainerLogs,
    ContainerResize,
    ContainerStart,
    ContainerStop,
    ContainerRestart,
    ContainerKill,
    ContainerRename,
    ContainerAttach,
    ContainerWait,
    ContainerDelete,
    ContainerPrune,
    ContainerPause,
    ContainerUnpause,
    ExecCreate,
    ExecStart,
    ExecResize,
    ExecInspect,
    ImageList,
    ImageCreate,
    ImageInspect,
    ImageHistory,
    ImageTag,
    ImageDelete,
    ImageLoad,
    NetworkList,
    NetworkInspect,
    VolumeList,
    VolumeInspect,
    PluginList,
    PluginInspect,
    Ping,
    Version,
    Info,
    Events,
}

/// One operation of the API.
#[derive(Debug)]
pub(crate) struct Route {
    /// Its method.
    pub(crate) method: Method,
    /// Its path: `{id}` is one segment, `{name}` one or more (a name with slashes).
    pub(crate) pattern: &'static str,
    /// What serves it, if anything does.
    pub(crate) operation: Option<Operation>,
}

/// A route that was found, and what stood in its braces.
#[derive(Debug)]
pub(crate) struct Found {
    /// The route.
    pub(crate) route: &'static Route,
    /// What stood in the braces; empty where there are none.
    pub(crate) name: String,
}

/// Finds the route of a request, by its method and its path without the version.
pub(crate) fn find(method: &Method, path: &str) -> Result<Found, ApiError> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let encoded = path.strip_prefix('/').ok_or(ApiError::NoSuchPage)?.split('/');
    let segments = encoded.map(|it| decode(it, false)).collect::<Result<Vec<_>, _>>()?;
    let candidates = ROUTES.iter().filter(|it| it.method == *method);
    let found = candidates.filter_map(|route| Some((route, capture(route.pattern, &segments)?)));
    // `/images/get` matches `/images/{name}` too: the shorter capture is the more exact one.
    let (route, name) =
        found.min_by_key(|(_, captured)| captured.len()).ok_or(ApiError::NoSuchPage)?;
    for segment in name {
        check_segment(segment)?;
    }
    Ok(Found { route, name: name.join("/") })
}

/// Matches a path; returns the segments in the braces.
fn capture<'a>(pattern: &str, segments: &'a [String]) -> Option<&'a [String]> {
    let pattern = pattern.strip_prefix('/').unwrap_or(pattern);
    let Some((before, after)) = pattern.split_once('{') else {
        let is_same = segments.iter().map(String::as_str).eq(pattern.split('/'));
        return is_same.then_some(&[]);
    };
    let (kind, after) = after.split_once('}')?;
    let rest = strip_start(segments, before.trim_end_matches('/'))?;
    let name = strip_end(rest, after.trim_start_matches('/'))?;
    let fits = name.len() == 1 || (kind == "name" && !name.is_empty());
    fits.then_some(name)
}

fn strip_start<'a>(segments: &'a [String], before: &str) -> Option<&'a [String]> {
    before.split('/').try_fold(segments, |segments, wanted| {
        segments.split_first().filter(|(first, _)| *first == wanted).map(|(_, rest)| rest)
    })
}

fn strip_end<'a>(segments: &'a [String], after: &str) -> Option<&'a [String]> {
    let mut wanted = after.rsplit('/').filter(|it| !it.is_empty());
    wanted.try_fold(segments, |segments, wanted| {
        segments.split_last().filter(|(last, _)| *last == wanted).map(|(_, rest)| rest)
    })
}

/// A name never leads out of where it is looked for.
fn check_segment(segment: &str) -> Result<(), ApiError> {
    let leads_away = segment == "." || segment == ".." || segment.contains('\0');
    if leads_away {
        return Err(ApiError::bad_request(format!("invalid name in path: {segment:?}")));
    }
    Ok(())
}

const fn served(method: Method, pattern: &'static str, operation: Operation) -> Route {
    Route { method, pattern, operation: Some(operation) }
}

const fn unserved(method: Method, pattern: &'static str) -> Route {
    Route { method, pattern, operation: None }
}

/// Every operation.
static ROUTES: &[Route] = &[
    served(Method::GET, "/containers/json", Operation::ContainerList),
    served(Method::POST, "/containers/create", Operation::ContainerCreate),
    served(Method::GET, "/containers/{id}/json", Operation::ContainerInspect),
    served(Method::GET, "/containers/{id}/top", Operation::ContainerTop),
    served(Method::GET, "/containers/{id}/logs", Operation::ContainerLogs),
    unserved(Method::GET, "/containers/{id}/changes"),
    unserved(Method::GET, "/containers/{id}/export"),
    unserved(Method::GET, "/containers/{id}/stats"),
    served(Method::POST, "/containers/{id}/resize", Operation::ContainerResize),
    served(Method::POST, "/containers/{id}/start", Operation::ContainerStart),
    served(Method::POST, "/containers/{id}/stop", Operation::ContainerStop),
    served(Method::POST, "/containers/{id}/restart", Operation::ContainerRestart),
    served(Method::POST, "/containers/{id}/kill", Operation::ContainerKill),
    unserved(Method::POST, "/containers/{id}/update"),
    served(Method::POST, "/containers/{id}/rename", Operation::ContainerRename),
    served(Method::POST, "/containers/{id}/pause", Operation::ContainerPause),
    served(Method::POST, "/containers/{id}/unpause", Operation::ContainerUnpause),
    served(Method::POST, "/containers/{id}/attach", Operation::ContainerAttach),
    unserved(Method::GET, "/containers/{id}/attach/ws"),
    served(Method::POST, "/containers/{id}/wait", Operation::ContainerWait),
    served(Method::DELETE, "/containers/{id}", Operation::ContainerDelete),
    unserved(Method::HEAD, "/containers/{id}/archive"),
    unserved(Method::GET, "/containers/{id}/archive"),
    unserved(Method::PUT, "/containers/{id}/archive"),
    served(Method::POST, "/containers/prune", Operation::ContainerPrune),
    served(Method::GET, "/images/json", Operation::ImageList),
    unserved(Method::POST, "/build"),
    unserved(Method::POST, "/build/prune"),
    served(Method::POST, "/images/create", Operation::ImageCreate),
    served(Method::GET, "/images/{name}/json", Operation::ImageInspect),
    unserved(Method::GET, "/images/{name}/attestations"),
    served(Method::GET, "/images/{name}/history", Operation::ImageHistory),
    unserved(Method::POST, "/images/{name}/push"),
    served(Method::POST, "/images/{name}/tag", Operation::ImageTag),
    served(Method::DELETE, "/images/{name}", Operation::ImageDelete),
    unserved(Method::GET, "/images/search"),
    unserved(Method::POST, "/images/prune"),
    unserved(Method::POST, "/auth"),
    served(Method::GET, "/info", Operation::Info),
    served(Method::GET, "/version", Operation::Version),
    served(Method::GET, "/_ping", Operation::Ping),
    served(Method::HEAD, "/_ping", Operation::Ping),
    unserved(Method::POST, "/commit"),
    served(Method::GET, "/events", Operation::Events),
    unserved(Method::GET, "/system/df"),
    unserved(Method::GET, "/images/{name}/get"),
    unserved(Method::GET, "/images/get"),
    served(Method::POST, "/images/load", Operation::ImageLoad),
    served(Method::POST, "/containers/{id}/exec", Operation::ExecCreate),
    served(Method::POST, "/exec/{id}/start", Operation::ExecStart),
    served(Method::POST, "/exec/{id}/resize", Operation::ExecResize),
    served(Method::GET, "/exec/{id}/json", Operation::ExecInspect),
    served(Method::GET, "/volumes", Operation::VolumeList),
    unserved(Method::POST, "/volumes/create"),
    served(Method::GET, "/volumes/{id}", Operation::VolumeInspect),
    unserved(Method::PUT, "/volumes/{id}"),
    unserved(Method::DELETE, "/volumes/{id}"),
    unserved(Method::POST, "/volumes/prune"),
    served(Method::GET, "/networks", Operation::NetworkList),
    served(Method::GET, "/networks/{id}", Operation::NetworkInspect),
    unserved(Method::DELETE, "/networks/{id}"),
    unserved(Method::POST, "/networks/create"),
    unserved(Method::POST, "/networks/{id}/connect"),
    unserved(Method::POST, "/networks/{id}/disconnect"),
    unserved(Method::POST, "/networks/prune"),
    served(Method::GET, "/plugins", Operation::PluginList),
    unserved(Method::GET, "/plugins/privileges"),
    unserved(Method::POST, "/plugins/pull"),
    served(Method::GET, "/plugins/{name}/json", Operation::PluginInspect),
    unserved(Method::DELETE, "/plugins/{name}"),
    unserved(Method::POST, "/plugins/{name}/enable"),
    unserved(Method::POST, "/plugins/{name}/disable"),
    unserved(Method::POST, "/plugins/{name}/upgrade"),
    unserved(Method::POST, "/plugins/create"),
    unserved(Method::POST, "/plugins/{name}/push"),
    unserved(Method::POST, "/plugins/{name}/set"),
    unserved(Method::GET, "/nodes"),
    unserved(Method::GET, "/nodes/{id}"),
    unserved(Method::DELETE, "/nodes/{id}"),
    unserved(Method::POST, "/nodes/{id}/update"),
    unserved(Method::GET, "/swarm"),
    unserved(Method::POST, "/swarm/init"),
    unserved(Method::POST, "/swarm/join"),
    unserved(Method::POST, "/swarm/leave"),
    unserved(Method::POST, "/swarm/update"),
    unserved(Method::GET, "/swarm/unlockkey"),
    unserved(Method::POST, "/swarm/unlock"),
    unserved(Method::GET, "/services"),
    unserved(Method::POST, "/services/create"),
    unserved(Method::GET, "/services/{id}"),
    unserved(Method::DELETE, "/services/{id}"),
    unserved(Method::POST, "/services/{id}/update"),
    unserved(Method::GET, "/services/{id}/logs"),
    unserved(Method::GET, "/tasks"),
    unserved(Method::GET, "/tasks/{id}"),
    unserved(Method::GET, "/tasks/{id}/logs"),
    unserved(Method::GET, "/secrets"),
    unserved(Method::POST, "/secrets/create"),
    unserved(Method::GET, "/secrets/{id}"),
    unserved(Method::DELETE, "/secrets/{id}"),
    unserved(Method::POST, "/secrets/{id}/update"),
    unserved(Method::GET, "/configs"),
    unserved(Method::POST, "/configs/create"),
    unserved(Method::GET, "/configs/{id}"),
    unserved(Method::DELETE, "/configs/{id}"),
    unserved(Method::POST, "/configs/{id}/update"),
    unserved(Method::GET, "/distribution/{name}/json"),
    unserved(Method::POST, "/session"),
    // Routed by Docker, but not documented.
    unserved(Method::POST, "/build/cancel"),
    unserved(Method::POST, "/grpc"),
    unserved(Method::GET, "/containers/{id}/checkpoints"),
    unserved(Method::POST, "/containers/{id}/checkpoints"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: &Method, path: &str, expected: &str) {
        let found = match find(method, path) {
            Ok(Found { route, name }) => format!("{} [{name}]", route.pattern),
            Err(error) => format!("{} {error}", error.status().as_u16()),
        };
        assert_eq!(found, expected, "{method} {path}");
    }

    #[test]
    fn names_with_slashes_are_one_name() {
        check(&Method::GET, "/images/json", "/images/json []");
        check(&Method::GET, "/images/a/b:c/json", "/images/{name}/json [a/b:c]");
        check(&Method::GET, "/images/a%2Fb/json", "/images/{name}/json [a/b]");
        check(&Method::GET, "/images/get", "/images/get []");
        check(&Method::GET, "/images/x/get", "/images/{name}/get [x]");
        check(&Method::DELETE, "/images/localhost:5000/x", "/images/{name} [localhost:5000/x]");
        check(&Method::POST, "/images/create", "/images/create []");
        check(&Method::POST, "/images/create/tag", "/images/{name}/tag [create]");
    }

    #[test]
    fn one_trailing_slash_does_no_harm() {
        check(&Method::GET, "/networks/", "/networks []");
        check(&Method::GET, "/networks/x/", "/networks/{id} [x]");
    }

    #[test]
    fn unknown_paths_and_methods_are_not_found() {
        for path in
            ["/", "/nothing", "/containers", "/containers/a/b/json", "//", "/containers//json/x"]
        {
            check(&Method::GET, path, "404 page not found");
        }
        check(&Method::PUT, "/info", "404 page not found");
        check(&Method::HEAD, "/info", "404 page not found");
    }

    #[test]
    fn a_name_never_leads_away() {
        check(&Method::GET, "/containers/../json", "400 invalid name in path: \"..\"");
        check(&Method::GET, "/containers/%2e%2e/json", "400 invalid name in path: \"..\"");
        check(&Method::GET, "/images/../../x/json", "400 invalid name in path: \"..\"");
        check(&Method::GET, "/containers/%zz/json", "400 invalid URL escape in \"%zz\"");
    }

    #[test]
    fn every_documented_operation_has_a_route() {
        assert_eq!(ROUTES.len(), 108 + 4);
    }
}
