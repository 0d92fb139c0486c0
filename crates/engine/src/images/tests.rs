//! Images on a real store: loading, importing, naming, removing.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{self, Read},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use wadah_store::tar::{Entry, Kind, Time, Writer};

use super::*;
use crate::filters::Filters;

struct Scene {
    scratch: TempDir,
    store: Arc<Store>,
    images: Images,
}

impl Scene {
    fn new() -> Self {
        Self::at(tempfile::tempdir().unwrap())
    }

    fn at(scratch: TempDir) -> Self {
        let (store, images) = open(scratch.path());
        Self { scratch, store, images }
    }

    fn reopened(self) -> Self {
        let Self { scratch, store, images } = self;
        drop(images);
        drop(store);
        Self::at(scratch)
    }

    fn load(&self, archive: &[u8]) -> Result<Vec<String>, String> {
        let mut said = Vec::new();
        let loaded = self.images.load(archive, true, &mut |it| said.push(it));
        let words = |it| match it {
            Progress::Loaded { reference } => format!("loaded {reference}"),
            Progress::LoadedId { id } => format!("loaded {id}"),
            Progress::Renamed { reference, .. } => format!("renamed {reference}"),
            Progress::Layer { .. } => "layer".into(),
        };
        loaded.map_err(|it| crate::EngineError::from(it).report())?;
        Ok(said.into_iter().map(words).collect())
    }

    /// Nothing is kept but what the images want.
    #[track_caller]
    fn check_clean(&self) {
        let wanted = self.images.state().wanted();
        let blobs = self.store.content.list().unwrap();
        let blobs: BTreeSet<Digest> = blobs.into_iter().map(|(digest, _)| digest).collect();
        assert_eq!(blobs, wanted.blobs);
        let layers = self.store.layers.list();
        let layers: BTreeSet<ChainId> = layers.into_iter().map(|it| it.chain_id).collect();
        assert_eq!(layers, wanted.layers);
        assert_eq!(fs::read_dir(self.scratch.path().join("ingest")).unwrap().count(), 0);
    }
}

fn open(root: &Path) -> (Arc<Store>, Images) {
    let store = Arc::new(Store::open(root).unwrap());
    assert!(store.damage().is_empty(), "{:?}", store.damage());
    let images = Images::open(Arc::clone(&store), Arc::default()).unwrap();
    (store, images)
}

fn entry(path: &str, kind: Kind, size: usize) -> Entry {
    let path = path.into();
    let size = size as u64;
    let (uid, gid, mtime) = (0, 0, Time::default());
    Entry { path, kind, mode: 0o644, uid, gid, mtime, size, sparse: None, xattrs: Vec::new() }
}

fn tar<'a>(members: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (path, bytes) in members {
        let (kind, bytes) = match bytes.strip_prefix(b"-> ") {
            Some(target) => (Kind::Symlink(target.into()), &[][..]),
            None => (Kind::File, bytes),
        };
        writer.append(&entry(path, kind, bytes.len()), bytes).unwrap();
    }
    writer.finish().unwrap()
}

fn layer(name: &str) -> Vec<u8> {
    tar([(name, name.as_bytes())])
}

fn config(layers: &[Vec<u8>], extra: Value) -> Vec<u8> {
    let diff_ids: Vec<String> = layers.iter().map(|it| Digest::of(it).to_string()).collect();
    let history: Vec<Value> =
        diff_ids.iter().map(|it| json!({"created_by": format!("ADD {it}")})).collect();
    let mut config = json!({
        "architecture": Platform::host().architecture,
        "os": "linux",
        "created": "2026-01-02T03:04:05Z",
        "config": {"Cmd": ["sh"], "Labels": {"a": "b"}},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": history,
    });
    config.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    serde_json::to_vec(&config).unwrap()
}

/// What `docker save` wrote before release 25.
fn saved(layers: &[Vec<u8>], tags: Value, extra: Value) -> Vec<u8> {
    let config = config(layers, extra);
    let config_name = format!("{}.json", Digest::of(&config).hex());
    let names: Vec<String> = (0..layers.len()).map(|it| format!("{it}/layer.tar")).collect();
    let manifest = json!([{"Config": config_name, "RepoTags": tags, "Layers": names}]);
    let manifest = serde_json::to_vec(&manifest).unwrap();
    let mut members: Vec<(&str, &[u8])> = vec![("0/VERSION", b"1.0"), ("0/json", b"{}")];
    members.extend(names.iter().zip(layers).map(|(name, it)| (name.as_str(), &it[..])));
    members.extend([(config_name.as_str(), &config[..]), ("manifest.json", &manifest)]);
    tar(members)
}

/// An OCI image layout in the making.
#[derive(Default)]
struct Layout {
    blobs: BTreeMap<String, Vec<u8>>,
}

impl Layout {
    fn blob(&mut self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = Digest::of(bytes);
        self.blobs.insert(format!("blobs/sha256/{}", digest.hex()), bytes.into());
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    fn image(&mut self, layers: &[Vec<u8>], wrap: fn(&[u8]) -> Vec<u8>, extra: Value) -> Value {
        let config = self.blob("application/vnd.oci.image.config.v1+json", &config(layers, extra));
        let layers: Vec<Value> = layers
            .iter()
            .map(|it| self.blob("application/vnd.oci.image.layer.v1.tar", &wrap(it)))
            .collect();
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": layers});
        self.blob(media_type, &serde_json::to_vec(&manifest).unwrap())
    }

    fn index(&mut self, manifests: Value) -> Value {
        let media_type = "application/vnd.oci.image.index.v1+json";
        let index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests});
        self.blob(media_type, &serde_json::to_vec(&index).unwrap())
    }

    fn finish(self, manifests: Value) -> Vec<u8> {
        let index = json!({"schemaVersion": 2, "manifests": manifests}).to_string();
        let layout = br#"{"imageLayoutVersion":"1.0.0"}"#;
        let blobs = self.blobs.iter().map(|(name, it)| (name.as_str(), &it[..]));
        tar(blobs.chain([("index.json", index.as_bytes()), ("oci-layout", &layout[..])]))
    }
}

fn named(mut descriptor: Value, annotation: &str, name: &str) -> Value {
    descriptor["annotations"] = json!({annotation: name});
    descriptor
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    // One frame with one raw block (RFC 8878, 3.1.1): enough to be recognised and inflated.
    let length = u32::try_from(bytes.len()).unwrap();
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0xa0];
    frame.extend(length.to_le_bytes());
    frame.extend(&((length << 3) | 1).to_le_bytes()[..3]);
    frame.extend(bytes);
    frame
}

#[test]
fn an_archive_of_docker_save_is_loaded() {
    let scene = Scene::new();
    let layers = [layer("a"), layer("b")];
    let archive = saved(&layers, json!(["busybox:1", "x.io/y:z"]), json!({}));
    assert_eq!(scene.load(&archive).unwrap(), ["loaded busybox:1", "loaded x.io/y:z"]);
    scene.check_clean();
    let scene = scene.reopened();
    let image = scene.images.resolve("busybox:1").unwrap();
    assert_eq!(image.repo_tags, ["busybox:1", "x.io/y:z"]);
    assert_eq!((image.size, image.layers.len()), (2, 2));
    assert_eq!(image.config.defaults.cmd, ["sh"]);
    let lower = scene.images.lower(&image).unwrap();
    assert_eq!(fs::read(lower[0].join("b")).unwrap(), b"b");
    assert_eq!(fs::read(lower[1].join("a")).unwrap(), b"a");
    let history = scene.images.history("busybox:1").unwrap();
    assert_eq!((history.len(), history[0].id, history[1].id), (2, Some(image.id), None));
    assert_eq!(scene.load(&archive).unwrap().len(), 2);
    scene.check_clean();
}

#[test]
fn layers_that_are_links_are_followed_inside_the_archive_only() {
    let scene = Scene::new();
    let layers = [layer("a"), layer("a")];
    let config = config(&layers, json!({}));
    let archive = |target: &str| {
        let manifest = json!([{"Config": "c.json", "RepoTags": null, "Layers": ["1/layer.tar", "2/layer.tar"]}]);
        tar([
            ("1/layer.tar", &layers[0][..]),
            ("2/layer.tar", target.as_bytes()),
            ("c.json", &config),
            ("manifest.json", manifest.to_string().as_bytes()),
        ])
    };
    let error = scene.load(&archive("-> /etc/passwd")).unwrap_err();
    assert_eq!(error, "the archive has no \"2/layer.tar\"");
    let error = scene.load(&archive("-> ../2/layer.tar")).unwrap_err();
    assert_eq!(error, "the archive has no \"2/layer.tar\"");
    scene.check_clean();
    let id = Digest::of(&config);
    assert_eq!(scene.load(&archive("-> ../1/layer.tar")).unwrap(), [format!("loaded {id}")]);
    assert_eq!(scene.images.resolve(&id.hex()[..12]).unwrap().layers.len(), 2);
}

#[test]
fn an_image_layout_is_loaded_for_this_platform() {
    let scene = Scene::new();
    let mut layout = Layout::default();
    let host = Platform::host();
    let platform = |mut it: Value, architecture: &str| {
        it["platform"] = json!({"os": "linux", "architecture": architecture});
        it
    };
    let mine = layout.image(&[layer("mine")], zstd, json!({}));
    let other = layout.image(&[layer("other")], zstd, json!({"architecture": "s390x"}));
    let manifests = json!([platform(other, "s390x"), platform(mine, &host.architecture)]);
    let index = layout.index(manifests);
    let archive =
        layout.finish(json!([named(index, "io.containerd.image.name", "docker.io/library/a:1")]));
    assert_eq!(scene.load(&archive).unwrap(), ["loaded a:1"]);
    let image = scene.images.resolve("a:1").unwrap();
    assert!(image.manifest.is_some());
    let lower = scene.images.lower(&image).unwrap();
    assert_eq!(fs::read(lower[0].join("mine")).unwrap(), b"mine");
    scene.check_clean();
    let raw = scene.images.raw_config(&image.id).unwrap();
    assert_eq!(Digest::of(&raw), image.id);
}

#[test]
fn an_index_without_an_image_for_this_machine_says_what_it_has() {
    let scene = Scene::new();
    let mut layout = Layout::default();
    let mut other = layout.image(&[layer("x")], <[u8]>::to_vec, json!({}));
    other["platform"] = json!({"os": "linux", "architecture": "s390x"});
    let index = layout.index(json!([other]));
    let error = scene.load(&layout.finish(json!([index]))).unwrap_err();
    assert!(error.ends_with("the index has linux/s390x"), "{error}");
}

#[test]
fn both_kinds_of_index_in_one_archive_agree() {
    let scene = Scene::new();
    let layers = [layer("a")];
    let mut layout = Layout::default();
    let image = layout.image(&layers, <[u8]>::to_vec, json!({}));
    let manifest_digest = image["digest"].as_str().unwrap().to_owned();
    let name = |it: &[u8]| format!("blobs/sha256/{}", Digest::of(it).hex());
    let config = config(&layers, json!({}));
    let saved =
        json!([{"Config": name(&config), "RepoTags": ["a:1"], "Layers": [name(&layers[0])]}]);
    layout.blobs.insert("manifest.json".into(), saved.to_string().into_bytes());
    let archive = layout.finish(json!([image]));
    assert_eq!(scene.load(&archive).unwrap(), ["loaded a:1"]);
    let image = scene.images.resolve("a:1").unwrap();
    assert_eq!(image.manifest.unwrap().to_string(), manifest_digest);
    scene.check_clean();
}

#[test]
fn hostile_archives_are_refused_and_leave_nothing() {
    let scene = Scene::new();
    let layers = [layer("a")];
    let document = |json: Value| tar([("manifest.json", json.to_string().as_bytes())]);
    let mut wrong = config(&layers, json!({}));
    let at = wrong.windows(7).rposition(|it| it == b"sha256:").unwrap() + 8;
    wrong[at] = if wrong[at] == b'0' { b'1' } else { b'0' };
    let manifest = json!([{"Config": "c", "RepoTags": ["x:1"], "Layers": ["l"]}]).to_string();
    let diff = tar([("c", &wrong[..]), ("l", &layers[0]), ("manifest.json", manifest.as_bytes())]);
    let many = json!([{"Config": "c", "RepoTags": vec!["x:1"; 1_000_000], "Layers": []}]);
    let count = saved(&layers, json!(null), json!({"rootfs": {"diff_ids": []}}));
    let bad_blob = tar([(&*format!("blobs/sha256/{}", "0".repeat(64)), &b"x"[..])]);
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("no archive", b"nonsense".repeat(100), "checksum"),
        ("nothing", Vec::new(), "neither manifest.json nor index.json"),
        ("an empty archive", tar([]), "neither manifest.json nor index.json"),
        (
            "a truncated archive",
            saved(&layers, json!(null), json!({}))[..2000].to_vec(),
            "truncated",
        ),
        (
            "a name with a newline",
            saved(&layers, json!(["a\nb:1"]), json!({})),
            "invalid reference",
        ),
        (
            "a name that is a path",
            saved(&layers, json!(["../../x"]), json!({})),
            "invalid reference",
        ),
        (
            "a path out",
            document(json!([{"Config": "../../../etc/passwd", "Layers": []}])),
            "has no",
        ),
        ("another shape", document(json!({"Config": 1})), "invalid manifest.json"),
        (
            "deep JSON",
            tar([("manifest.json", "[".repeat(1 << 20).as_bytes())]),
            "invalid manifest.json",
        ),
        ("10⁶ tags", document(many), "longer than"),
        ("a wrong diff id", diff, "the layer has diff id"),
        ("too few layers", count, "layers length mismatch"),
        ("a lying name", bad_blob, "content has digest"),
    ];
    for (what, archive, words) in cases {
        let error = scene.load(&archive).unwrap_err();
        assert!(error.contains(words), "{what}: {error}");
        assert!(scene.images.list(&Listing::default()).unwrap().is_empty(), "{what}");
        scene.images.sweep().unwrap();
        scene.check_clean();
    }
}

#[test]
fn names_and_ids_lead_to_images() {
    let scene = Scene::new();
    scene.load(&saved(&[layer("a")], json!(["busybox"]), json!({}))).unwrap();
    let id = scene.images.resolve("busybox").unwrap().id;
    let found = |it: &str| scene.images.resolve(it).map(|it| it.id);
    let whole = id.to_string();
    for reference in
        [&whole, &id.hex(), &whole[..20], &id.hex()[..3], "docker.io/library/busybox:latest"]
    {
        assert_eq!(found(reference).unwrap(), id, "{reference}");
    }
    let message = |it: &str| found(it).unwrap_err().to_string();
    assert_eq!(message("nope"), "No such image: nope:latest");
    assert_eq!(message("nope:1"), "No such image: nope:1");
    let other = Digest::of(b"other").to_string();
    assert_eq!(message(&other), format!("No such image: {other}"));
    assert!(message("UPPER").starts_with("invalid reference format"));
    for number in 0..40 {
        let extra = json!({"comment": number.to_string()});
        scene.load(&saved(&[layer("a")], json!(null), extra)).unwrap();
    }
    let ambiguous = ('0'..='9').find(|it| {
        let prefix = it.to_string();
        matches!(found(&prefix), Err(ImageError::Ambiguous { .. }))
    });
    assert!(ambiguous.is_some());
}

#[test]
fn a_tag_moves_from_image_to_image() {
    let scene = Scene::new();
    scene.load(&saved(&[layer("a")], json!(["x:1"]), json!({}))).unwrap();
    let said = scene.load(&saved(&[layer("b")], json!(["x:1"]), json!({}))).unwrap();
    assert_eq!(said, ["renamed x:1", "loaded x:1"]);
    let listing = |filters: &[(&str, &str)]| {
        let filters = filters.iter().map(|(k, v)| ((*k).into(), vec![(*v).into()])).collect();
        scene.images.list(&Listing { all: false, filters: Filters::new(filters) })
    };
    assert_eq!(listing(&[("dangling", "true")]).unwrap().len(), 1);
    scene.images.tag("x:1", "example.com/team/y").unwrap();
    assert_eq!(listing(&[("reference", "example.com/*/y")]).unwrap().len(), 1);
    assert_eq!(listing(&[("reference", "y")]).unwrap().len(), 0);
    assert_eq!(listing(&[("label", "a=b")]).unwrap().len(), 2);
    assert_eq!(listing(&[("label", "a=c")]).unwrap().len(), 0);
    assert_eq!(listing(&[("until", "1")]).unwrap().len(), 0);
    assert_eq!(listing(&[("until", "1h")]).unwrap().len(), 2);
    assert_eq!(listing(&[("since", "x:1")]).unwrap().len(), 0);
    listing(&[("dangling", "maybe")]).unwrap_err();
    listing(&[("colour", "red")]).unwrap_err();
    let error = scene.images.tag("x:1", &format!("z@{}", Digest::of(b""))).unwrap_err();
    assert_eq!(error.to_string(), "refusing to create a tag with a digest reference");
}

#[test]
fn an_image_goes_with_its_last_name() {
    let scene = Scene::new();
    scene.load(&saved(&[layer("a"), layer("b")], json!(["x:1", "y:1"]), json!({}))).unwrap();
    scene.load(&saved(&[layer("a"), layer("c")], json!(["z:1"]), json!({}))).unwrap();
    let image = scene.images.resolve("x:1").unwrap();
    let remove = |it: &str, force| scene.images.remove(it, force, false, &|_| None);
    let error = remove(&image.id.hex()[..12], false).unwrap_err().to_string();
    let short = &image.id.hex()[..12];
    let reason = "image is referenced in multiple repositories";
    assert_eq!(error, format!("conflict: unable to delete {short} (must be forced) - {reason}"));
    assert_eq!(remove("x:1", false).unwrap(), [Removed::Untagged("x:1".into())]);
    let removed = remove("y:1", false).unwrap();
    let expected = [
        Removed::Untagged("y:1".into()),
        Removed::Deleted(image.id.to_string()),
        Removed::Deleted(image.layers[1].to_string()),
    ];
    assert_eq!(removed, expected);
    scene.check_clean();
    assert_eq!(remove("z:1", false).unwrap().len(), 4);
    scene.check_clean();
    assert!(scene.store.layers.list().is_empty());
    assert!(matches!(remove("z:1", false), Err(ImageError::NotFound { .. })));
}

#[test]
fn an_image_in_use_is_removed_only_as_far_as_force_goes() {
    let scene = Scene::new();
    scene.load(&saved(&[layer("a")], json!(["x:1"]), json!({}))).unwrap();
    let image = scene.images.resolve("x:1").unwrap();
    let short = &image.id.hex()[..12];
    let user = |running| Some(ImageUse { container: "c".repeat(64), running });
    let hold = scene.images.hold(&image.layers);
    let error = scene.images.remove("x:1", false, false, &|_| user(false)).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "conflict: unable to remove repository reference \"x:1\" (must force) - \
         container cccccccccccc is using its referenced image {short}"
        )
    );
    let error = scene.images.remove(short, true, false, &|_| user(true)).unwrap_err();
    let reason = "image is being used by running container cccccccccccc";
    assert_eq!(
        error.to_string(),
        format!("conflict: unable to delete {short} (cannot be forced) - {reason}")
    );
    let removed = scene.images.remove("x:1", true, false, &|_| user(false)).unwrap();
    assert_eq!(removed.len(), 2);
    scene.images.sweep().unwrap();
    assert_eq!(scene.store.layers.list().len(), 1);
    drop(hold);
    scene.images.sweep().unwrap();
    scene.check_clean();
}

#[test]
fn a_root_filesystem_is_imported() {
    let scene = Scene::new();
    let import = Import {
        name: Some("fs:1".into()),
        message: "from a tar".into(),
        changes: vec!["CMD [\"/x\"]".into(), "ENV A=1".into()],
        platform: Some("linux/arm64".parse().unwrap()),
    };
    let id = scene.images.import(&layer("x")[..], &import).unwrap();
    scene.check_clean();
    let scene = scene.reopened();
    let image = scene.images.resolve("fs:1").unwrap();
    assert_eq!(image.id, id);
    assert_eq!(image.config.architecture, "arm64");
    assert_eq!(image.config.defaults.cmd, ["/x"]);
    assert_eq!(image.config.defaults.env, ["A=1"]);
    assert_eq!(scene.images.history("fs:1").unwrap()[0].comment, "from a tar");
    let bad = Import { changes: vec!["RUN x".into()], ..Import::default() };
    scene.images.import(&layer("x")[..], &bad).unwrap_err();
    scene.images.import(&b"nonsense"[..], &Import::default()).unwrap_err();
    scene.check_clean();
}

#[test]
fn the_builtin_image_is_installed_once_and_replaced_by_a_newer_one() {
    let scene = Scene::new();
    let builtin = |executable| Builtin {
        name: "wadah/hello",
        path: "hello",
        executable,
        defaults: Defaults { cmd: vec!["/hello".into()], ..Defaults::default() },
    };
    let first = scene.images.install_builtin(&builtin(b"one")).unwrap();
    assert_eq!(scene.images.install_builtin(&builtin(b"one")).unwrap(), first);
    let image = scene.images.resolve("wadah/hello").unwrap();
    let lower = scene.images.lower(&image).unwrap();
    assert_eq!(fs::read(lower[0].join("hello")).unwrap(), b"one");
    let second = scene.images.install_builtin(&builtin(b"two")).unwrap();
    assert_eq!(scene.images.resolve("wadah/hello").unwrap().id, second);
    assert_eq!(scene.images.count(), 1);
    scene.check_clean();
    scene.load(&saved(&[layer("a")], json!(["wadah/hello"]), json!({}))).unwrap();
    scene.images.install_builtin(&builtin(b"three")).unwrap();
    assert_eq!(scene.images.resolve("wadah/hello").unwrap().config.defaults.cmd, ["sh"]);
}

#[test]
fn lost_layers_are_unpacked_again() {
    let scene = Scene::new();
    scene.load(&saved(&[layer("a"), layer("b")], json!(["x:1"]), json!({}))).unwrap();
    let image = scene.images.resolve("x:1").unwrap();
    let lower = scene.images.lower(&image).unwrap();
    let Scene { scratch, store, images } = scene;
    drop((images, store));
    fs::remove_dir_all(lower[0].parent().unwrap()).unwrap();
    let scene = Scene::at(scratch);
    assert_eq!(fs::read(lower[0].join("b")).unwrap(), b"b");
    scene.check_clean();
}

const ROOT: &str = "WADAH_TEST_LOAD_ROOT";

/// Not a test of its own: what the killed process does.
#[test]
fn helper_that_loads() {
    let Some(root) = env::var_os(ROOT) else { return };
    let (_store, images) = open(Path::new(&root));
    images.load(&killed_archive()[..], true, &mut |_| {}).unwrap();
}

fn killed_archive() -> Vec<u8> {
    let layers: Vec<Vec<u8>> = (0..20)
        .map(|it| {
            let names: Vec<String> = (0..100).map(|file| format!("{it}/{file}")).collect();
            tar(names.iter().map(|name| (name.as_str(), &[7_u8; 3000][..])))
        })
        .collect();
    saved(&layers, json!(["killed:1"]), json!({}))
}

#[test]
fn a_load_killed_at_any_moment_is_swept_and_can_be_repeated() {
    let scratch = tempfile::tempdir().unwrap();
    let started = Instant::now();
    let mut delay = Duration::from_millis(5);
    let mut was_whole = false;
    while !was_whole && started.elapsed() < Duration::from_secs(60) {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "images::tests::helper_that_loads"])
            .env(ROOT, scratch.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Not a wait for something: the moment of the kill is what is varied.
        thread::sleep(delay);
        child.kill().unwrap();
        child.wait().unwrap();
        delay = delay * 3 / 2 + Duration::from_millis(10);
        let (store, images) = open(scratch.path());
        was_whole = images.count() > 0;
        for image in images.list(&Listing::default()).unwrap() {
            assert_eq!(image.repo_tags, ["killed:1"]);
            let image = images.get(&image.id).unwrap();
            assert!(image.layers.iter().all(|it| store.layers.get(it).is_some()));
        }
        images.sweep().unwrap();
        let kept = store.content.list().unwrap().len();
        assert_eq!(kept, if was_whole { 21 } else { 0 });
    }
    let (_store, images) = open(scratch.path());
    images.load(&killed_archive()[..], true, &mut |_| {}).unwrap();
    assert_eq!(images.resolve("killed:1").unwrap().layers.len(), 20);
}

#[test]
fn a_stream_that_breaks_off_leaves_nothing() {
    struct Broken(io::Cursor<Vec<u8>>);
    impl Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(io::ErrorKind::ConnectionReset.into()),
                length => Ok(length),
            }
        }
    }
    let scene = Scene::new();
    let mut archive = saved(&[layer("a")], json!(["x:1"]), json!({}));
    archive.truncate(2500);
    let broken = Broken(io::Cursor::new(archive));
    scene.images.load(broken, true, &mut |_| {}).unwrap_err();
    scene.check_clean();
}
