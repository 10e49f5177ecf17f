//! Components: directories below one root (`operations-api.md` §15).
//!
//! Names come from clients, so every path is put together from checked parts, and what lies behind a symbolic
//! link is never followed: neither when files are read and written nor when a package is made or unpacked.

mod archive;
mod files;
mod tree;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use resource::{Date, Error, Map, Value};
use tokio::sync::Mutex;

use self::archive::ArchiveLimits;
use crate::parameters::{Check, Parameter};
use crate::{Call, Failure, Lifecycle, Need, Operation, Reply};

const PROJECT: Parameter = Parameter::plain("project");
const PACKAGE: Parameter = Parameter::plain("package");
const PAYLOAD: Parameter = Parameter::plain("payload");
const RESTART: Parameter = Parameter::plain("restart");
const TEMPLATE: Parameter = Parameter::plain("template");
const FILE: Parameter = Parameter::plain("file");
const ENCODING: Parameter = Parameter::plain("encoding");
const FORCE: Parameter = Parameter::plain("force");
const SKIP_NODE_MODULES: Parameter = Parameter::plain("skip_node_modules");
const SKIP_SYMLINKS: Parameter = Parameter::plain("skip_symlinks");

/// Where components are, and what they may take.
#[derive(Debug, Clone)]
pub struct ComponentsConfig {
    /// The directory of all components, one directory each.
    pub root: PathBuf,
    /// Names that no component may have, unless it is forced: those of sections of the configuration.
    pub reserved: Vec<String>,
    /// Bytes of the files in a package, unpacked. Default 1 GiB.
    pub package_bytes: u64,
    /// Files and directories in a package, and in an answer. Default 100,000.
    pub package_entries: usize,
    /// Bytes of a file that is read or written alone. Default 32 MiB.
    pub file_bytes: u64,
}

impl ComponentsConfig {
    /// The defaults, for components in this directory.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            reserved: Vec::new(),
            package_bytes: 1 << 30,
            package_entries: 100_000,
            file_bytes: 32 << 20,
        }
    }
}

#[derive(Clone)]
struct Components {
    config: Arc<ComponentsConfig>,
    lifecycle: Arc<dyn Lifecycle>,
    /// Held while files change, so that two deployments do not mix.
    turn: Arc<Mutex<()>>,
}

pub(super) fn operations(
    config: ComponentsConfig,
    lifecycle: Arc<dyn Lifecycle>,
) -> Vec<Operation> {
    let components = Components {
        config: Arc::new(config),
        lifecycle,
        turn: Arc::default(),
    };
    let need = Need::SuperUser;
    vec![
        Operation::on(&components, "get_components", need, list).shown_as("getComponents"),
        Operation::on(&components, "add_component", need, add)
            .with_aliases(&["add_custom_function_project"])
            .shown_as("addComponent"),
        Operation::on(&components, "deploy_component", need, deploy)
            .with_aliases(&["deploy_custom_function_project"])
            .shown_as("deployComponent"),
        Operation::on(&components, "package_component", need, package)
            .with_aliases(&["package_custom_function_project"])
            .shown_as("packageComponent"),
        Operation::on(&components, "drop_component", need, remove)
            .with_aliases(&["drop_custom_function_project"])
            .shown_as("dropComponent"),
        Operation::on(&components, "get_component_file", need, read_file)
            .shown_as("getComponentFile"),
        Operation::on(&components, "set_component_file", need, write_file)
            .shown_as("setComponentFile"),
    ]
}

impl Components {
    fn directory(&self, project: &str) -> PathBuf {
        self.config.root.join(project)
    }

    fn limits(&self) -> ArchiveLimits {
        ArchiveLimits {
            bytes: self.config.package_bytes,
            entries: self.config.package_entries,
        }
    }

    fn require_free(&self, project: &str, force: bool) -> Result<(), Failure> {
        let is_reserved = self.config.reserved.iter().any(|name| name == project);
        match is_reserved && !force {
            true => Err(Failure::new(
                400,
                format!("Component name '{project}' is the name of a section of the configuration"),
            )),
            false => Ok(()),
        }
    }

    /// One change of files at a time, on a thread that may block.
    async fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let _turn = self.turn.lock().await;
        blocking(work).await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| Error::internal("work with the files of components panicked"))?
}

/// The name of a component: nothing that could be a path.
fn project<'a>(check: &mut Check<'a>) -> Option<&'a str> {
    let name = check.required_text(PROJECT)?;
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    match name.bytes().all(is_legal) {
        true => Some(name),
        false => {
            check.complain(
                "Project name can only contain alphanumeric, dash and underscores characters",
            );
            None
        }
    }
}

async fn list(components: Components, _: Call) -> Result<Reply, Failure> {
    let statuses = components.lifecycle.component_status();
    let config = Arc::clone(&components.config);
    let tree = blocking(move || tree::of(&config.root, config.package_entries, statuses)).await?;
    Ok(Reply::value(tree))
}

/// What a new component holds, so that it does something and says how to go on.
const TEMPLATE_FILES: [(&str, &str); 2] = [
    (
        "config.yaml",
        "# What this application is made of; each line turns a part on.\nrest: true\ngraphqlSchema:\n  files: '*.graphql'\n",
    ),
    (
        "schema.graphql",
        "# Tables: every type with @table; @export makes it reachable by name.\n# type Dog @table @export {\n#   id: ID @primaryKey\n#   name: String @indexed\n# }\n",
    ),
];

async fn add(components: Components, call: Call) -> Result<Reply, Failure> {
    let mut check = Check::new(&call.parameters);
    let project = project(&mut check);
    let template = check.text(TEMPLATE);
    let project = check.finish_with(project)?;
    if template.is_some() {
        return Err(not_installable("add_component with a 'template'"));
    }
    components.require_free(project, false)?;
    let directory = components.directory(project);
    let exists = format!("Project '{project}' already exists");
    components
        .change(move || {
            let parent = directory.parent().map(fs::create_dir_all);
            parent.transpose().map_err(unusable)?;
            fs::create_dir(&directory).map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => Failure::new(400, exists),
                _ => unusable(error),
            })?;
            for (name, text) in TEMPLATE_FILES {
                fs::write(directory.join(name), text).map_err(unusable)?;
            }
            Ok(())
        })
        .await?;
    Ok(Reply::message(format!(
        "Successfully added project: {project}"
    )))
}

async fn deploy(components: Components, call: Call) -> Result<Reply, Failure> {
    let mut check = Check::new(&call.parameters);
    let name = project(&mut check);
    let restarts = restarts(&mut check, &call.parameters);
    let force = check.flag(FORCE).unwrap_or(false);
    let package = check.text(PACKAGE);
    let payload = payload(&mut check, &call.parameters);
    let name = check.finish_with(name)?;
    components.require_free(name, force)?;
    let payload = match (package, payload) {
        (Some(_), Some(_)) => {
            return Err(Failure::new(
                400,
                "Both payload and package cannot be provided",
            ));
        }
        (None, None) => {
            return Err(Failure::new(
                400,
                "Either payload or package must be provided",
            ));
        }
        (Some(_), None) => return Err(not_installable("deploy_component with a 'package'")),
        (None, Some(payload)) => payload,
    };
    let directory = components.directory(name);
    let limits = components.limits();
    components
        .change(move || archive::unpack(&payload, &directory, limits))
        .await?;
    let mut message = format!("Successfully deployed: {name}");
    if restarts {
        message.push_str(", restarting HarperDB");
        components.lifecycle.restart();
    }
    Ok(Reply::message(message))
}

fn not_installable(what: &str) -> Failure {
    Failure::new(
        501,
        format!("{what} is not available in this build: packages are not installed from elsewhere"),
    )
}

/// `true`, or `"rolling"`, which is the same here: no restart refuses connections.
fn restarts(check: &mut Check<'_>, parameters: &Map) -> bool {
    match RESTART.of(parameters) {
        None => false,
        Some(Value::String(text)) if text == "rolling" => true,
        Some(_) => check.flag(RESTART).unwrap_or(false),
    }
}

/// Base64 text, or bytes where the format has them.
fn payload(check: &mut Check<'_>, parameters: &Map) -> Option<Bytes> {
    let bytes = match PAYLOAD.of(parameters)? {
        Value::Bytes(bytes) => Some(bytes.clone()),
        Value::String(text) => STANDARD.decode(text.trim()).ok().map(Bytes::from),
        _ => None,
    };
    if bytes.is_none() {
        check.violation(PAYLOAD, "must be base64 text or bytes");
    }
    bytes
}

async fn package(components: Components, call: Call) -> Result<Reply, Failure> {
    let mut check = Check::new(&call.parameters);
    let name = project(&mut check);
    let skip_node_modules = check.flag(SKIP_NODE_MODULES).unwrap_or(false);
    // Links are never followed, and never packed.
    let _ = check.flag(SKIP_SYMLINKS);
    let name = check.finish_with(name)?;
    let directory = components.directory(name);
    require_project(name, &directory)?;
    let limits = components.limits();
    let packed = components.change(move || archive::pack(&directory, skip_node_modules, limits));
    let payload = STANDARD.encode(packed.await?);
    Ok(Reply::value(Map::from_iter([
        ("project", Value::from(name)),
        ("payload", Value::from(payload)),
    ])))
}

fn require_project(name: &str, directory: &Path) -> Result<(), Failure> {
    // Asks the directory entry, not what it may point to.
    match fs::symlink_metadata(directory).is_ok_and(|metadata| metadata.is_dir()) {
        true => Ok(()),
        false => Err(Failure::new(404, format!("Component '{name}' not found"))),
    }
}

async fn remove(components: Components, call: Call) -> Result<Reply, Failure> {
    let mut check = Check::new(&call.parameters);
    let name = project(&mut check);
    let file = check.text(FILE);
    let restarts = restarts(&mut check, &call.parameters);
    let name = check.finish_with(name)?;
    let directory = components.directory(name);
    let (project, file) = (name.to_owned(), file.map(str::to_owned));
    let dropped = match &file {
        Some(file) => format!("{name}/{file}"),
        None => name.to_owned(),
    };
    components
        .change(move || {
            require_project(&project, &directory)?;
            match file {
                Some(file) => files::remove(&project, &directory, &file),
                None => fs::remove_dir_all(&directory).map_err(unusable),
            }
        })
        .await?;
    if restarts {
        components.lifecycle.restart();
    }
    Ok(Reply::message(format!("Successfully dropped: {dropped}")))
}

async fn read_file(components: Components, call: Call) -> Result<Reply, Failure> {
    let mut check = Check::new(&call.parameters);
    let name = project(&mut check);
    let file = check.required_text(FILE);
    let encoding = encoding(&mut check);
    let ((name, file), encoding) = check.finish_with(name.zip(file).zip(encoding))?;
    let directory = components.directory(name);
    let (project, file) = (name.to_owned(), file.to_owned());
    let limit = components.config.file_bytes;
    let found = blocking(move || files::read(&project, &directory, &file, limit)).await?;
    let text = match encoding {
        Encoding::Utf8 => String::from_utf8_lossy(&found.content).into_owned(),
        Encoding::Base64 => STANDARD.encode(&found.content),
    };
    let mut reply = Map::from_iter([
        ("message", Value::from(text)),
        ("size", Value::from(found.content.len() as u64)),
    ]);
    for (name, time) in [("birthtime", found.created), ("mtime", found.modified)] {
        if let Some(time) = time {
            reply.insert(name, time.to_string());
        }
    }
    Ok(Reply::value(reply))
}

async fn write_file(components: Components, call: Call) -> Result<Reply, Failure> {
    let mut check = Check::new(&call.parameters);
    let name = project(&mut check);
    let file = check.required_text(FILE);
    let encoding = encoding(&mut check);
    let given = PAYLOAD.of(&call.parameters);
    let content = match (given, encoding) {
        (None, _) => None,
        (Some(Value::String(text)), Some(Encoding::Utf8)) => Some(text.clone().into_bytes()),
        (Some(Value::String(_)), _) => payload(&mut check, &call.parameters).map(Vec::from),
        (Some(Value::Bytes(bytes)), _) => Some(bytes.to_vec()),
        (Some(_), _) => {
            check.violation(PAYLOAD, "must be a string");
            None
        }
    };
    let (name, file) = check.finish_with(name.zip(file))?;
    let limit = components.config.file_bytes;
    if content
        .as_ref()
        .is_some_and(|content| content.len() as u64 > limit)
    {
        return Err(Failure::new(
            413,
            format!("a file must not have more than {limit} bytes"),
        ));
    }
    let directory = components.directory(name);
    let message = format!("Successfully set component: {file}");
    let file = file.to_owned();
    components
        .change(move || files::write(&directory, &file, content.as_deref()))
        .await?;
    Ok(Reply::message(message))
}

/// How content is shown as text.
#[derive(Debug, Clone, Copy)]
enum Encoding {
    Utf8,
    Base64,
}

fn encoding(check: &mut Check<'_>) -> Option<Encoding> {
    match check.text(ENCODING) {
        None | Some("utf8" | "utf-8") => Some(Encoding::Utf8),
        Some("base64") => Some(Encoding::Base64),
        Some(_) => {
            check.violation(ENCODING, "must be one of [utf8, base64]");
            None
        }
    }
}

/// A failure of the file system, whose text is for the operator who asked.
fn unusable(error: io::Error) -> Failure {
    let status = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => 507,
        _ => 500,
    };
    Failure::new(status, format!("the files of components: {error}"))
}

/// A time of a file.
fn date(time: io::Result<std::time::SystemTime>) -> Option<Date> {
    let since = time.ok()?.duration_since(std::time::SystemTime::UNIX_EPOCH);
    Date::from_millis(i64::try_from(since.ok()?.as_millis()).ok()?)
}
