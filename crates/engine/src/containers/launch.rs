//! What a shim is started with: the files, the parameters, the specification.

use std::{
    collections::{BTreeMap, HashMap},
    os::fd::{AsFd as _, OwnedFd},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use wadah_net::Namespace as NetNamespace;
use wadah_oci::{ChainId, ContainerId};
use wadah_shim::{
    launch::Shim,
    protocol::{self, Launch, VERSION},
};

use super::{
    container::Container,
    files::{self, Facts},
    log_options::{self, LogTarget},
    shared::Shared,
};
use crate::{
    EngineError,
    networks::Attachment,
    record::Definition,
    spec::{
        self, Inputs, Namespace, mounts,
        security::Security,
        user::{self, Root, User},
    },
    supervisor::RunDirectory,
};

/// Users that are remembered.
const USERS: usize = 512;

/// What a start has acquired, to be given back if it fails.
#[derive(Debug)]
pub(super) struct Plan {
    /// The network namespace that is handed to the shim.
    pub(super) network: Option<NetworkNamespace>,
    /// What the specification says about it.
    pub(super) network_in_spec: Namespace,
    pub(super) attachment: Option<Arc<Attachment>>,
    pub(super) pid: Namespace,
    /// The directory with `hosts`, `hostname` and `resolv.conf`, and the host name.
    pub(super) files: PathBuf,
    pub(super) hostname: String,
}

#[derive(Debug)]
pub(super) enum NetworkNamespace {
    /// A new one, to be connected if there is an attachment.
    New(NetNamespace),
    /// Another container's.
    Joined(OwnedFd),
}

impl Shared {
    /// Writes everything the shim needs, and spawns it. Blocks.
    pub(super) fn launch_shim(
        &self,
        container: &Container,
        plan: Plan,
    ) -> Result<(Shim, Option<NetNamespace>), EngineError> {
        let definition = &container.definition;
        let directory = self.run_directory(container.id());
        mounts::prepare_sources(&definition.host)?;
        self.write_files(definition, &plan)?;
        directory.create()?;
        if let Some(attachment) = &plan.attachment {
            directory.write(&directory.network(), &attachment.to_form())?;
        }
        let (launch, spec) = self.describe(container, &directory, &plan)?;
        let network = plan.network.as_ref().map(|it| match it {
            NetworkNamespace::New(namespace) => namespace.fd(),
            NetworkNamespace::Joined(fd) => fd.as_fd(),
        });
        let begin = Instant::now();
        let shim = self.settings.launcher.launch(&launch, &spec, network).map_err(|error| {
            EngineError::mechanism(format!("cannot start container {}", container.id()), error)
        })?;
        tracing::debug!(id = %container.id(), spawned = ?begin.elapsed(), "a shim is spawned");
        match plan.network {
            Some(NetworkNamespace::New(namespace)) if plan.attachment.is_some() => {
                Ok((shim, Some(namespace)))
            }
            _ => Ok((shim, None)),
        }
    }

    fn write_files(&self, definition: &Definition, plan: &Plan) -> Result<(), EngineError> {
        let own = self.store.containers.directories(&definition.id).root;
        if plan.files != own {
            return Ok(());
        }
        let attachment = plan.attachment.as_deref();
        let facts = Facts {
            hostname: &plan.hostname,
            domainname: &definition.config.domainname,
            address: attachment.map(|it| it.address.address()),
            gateway: attachment.map(|it| it.gateway),
            host: &definition.host,
        };
        files::write(&own, &facts)
    }

    /// What the shim is started with: its parameters, and the specification.
    fn describe(
        &self,
        container: &Container,
        directory: &RunDirectory,
        plan: &Plan,
    ) -> Result<(Launch, Vec<u8>), EngineError> {
        let definition = &*container.definition;
        let (config, host) = (&definition.config, &definition.host);
        let security = Security::of(host)?;
        let directories = self.store.containers.directories(container.id());
        let launch = Launch {
            version: VERSION,
            id: container.id().to_string(),
            run_dir: directory.path().to_owned(),
            rootfs: protocol::Rootfs::Overlay {
                lower: self.lower(&definition.layers),
                upper: directories.upper,
                work: directories.work,
                volatile: host.auto_remove,
            },
            cgroup: format!("{}/{}", self.settings.cgroup_parent, container.id()),
            seccomp: security.seccomp(),
            init: host.init.unwrap_or(self.settings.init),
            stdin: config.open_stdin,
            stdin_once: config.stdin_once,
            terminal: config.tty,
            terminal_size: host.console_size,
            log: self.log(definition)?,
            runtime: None,
        };
        Ok((launch, self.specify(definition, plan, &security)?))
    }

    fn specify(
        &self,
        definition: &Definition,
        plan: &Plan,
        security: &Security,
    ) -> Result<Vec<u8>, EngineError> {
        let inputs = Inputs {
            definition,
            user: &self.user(definition)?,
            directory: &plan.files,
            network: plan.network_in_spec.clone(),
            pid: plan.pid.clone(),
            ipc: spec::ipc_namespace(&definition.host.ipc_mode).unwrap_or(Namespace::New),
            hostname: &plan.hostname,
            security,
        };
        let spec = serde_json::to_vec(&spec::build(&inputs)?);
        spec.map_err(|it| EngineError::mechanism("cannot write down the specification", it))
    }

    fn log(&self, definition: &Definition) -> Result<Option<protocol::Log>, EngineError> {
        let LogTarget::File { max_size, max_files, labels, env, tag } =
            log_options::parse(&definition.host.log)?
        else {
            return Ok(None);
        };
        let mut attributes = BTreeMap::new();
        for name in labels {
            if let Some(value) = definition.config.labels.get(&name) {
                attributes.insert(name, value.clone());
            }
        }
        for variable in &definition.config.env {
            if let Some((name, value)) = variable.split_once('=')
                && env.iter().any(|it| it == name)
            {
                attributes.insert(name.to_owned(), value.to_owned());
            }
        }
        attributes.extend(tag.map(|it| ("tag".to_owned(), it)));
        let path = self.log_path(&definition.id);
        Ok(Some(protocol::Log { path, max_size, max_files, attributes }))
    }

    /// The file that a container's output is logged to.
    pub(super) fn log_path(&self, id: &ContainerId) -> PathBuf {
        self.store.containers.directories(id).root.join(format!("{id}-json.log"))
    }

    /// Who runs it. What an image says does not change, and is looked up once, as long as the
    /// container has not written an `/etc` of its own.
    fn user(&self, definition: &Definition) -> Result<User, EngineError> {
        let upper = self.store.containers.directories(&definition.id).upper;
        let is_fresh = upper.join("etc").symlink_metadata().is_err();
        let (given, add) = (&definition.config.user, &definition.host.group_add);
        let key = definition.layers.last().map(|top| (*top, given.clone(), add.clone()));
        if let Some(found) = key.as_ref().filter(|_| is_fresh).and_then(|it| self.users.get(it)) {
            return Ok(found);
        }
        let lower = self.lower(&definition.layers);
        let layers = std::iter::once(&upper).chain(&lower).map(PathBuf::as_path);
        let root = Root::of_layers(layers).map_err(|error| {
            let operation = format!("cannot look into the root of container {}", definition.id);
            EngineError::io(operation, error.into())
        })?;
        let user = user::resolve(&root, given, add)?;
        if let Some(key) = key.filter(|_| is_fresh) {
            self.users.remember(key, user.clone());
        }
        Ok(user)
    }
}

/// An image by its topmost layer, a user, further groups.
type UserKey = (ChainId, String, Vec<String>);

/// Users of images, as they were found before.
#[derive(Debug, Default)]
pub(crate) struct Users {
    found: Mutex<HashMap<UserKey, User>>,
}

impl Users {
    fn get(&self, key: &UserKey) -> Option<User> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn remember(&self, key: UserKey, user: User) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if found.len() >= USERS {
            found.clear();
        }
        found.insert(key, user);
    }
}
