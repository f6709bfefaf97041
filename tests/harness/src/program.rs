//! The program under test: what it is told, starting it, stopping it.

use std::ffi::OsStr;
use std::fs::File;
use std::net::TcpListener;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{Answer, Client, fresh_postgres_database};

/// The bootstrap root key of every server that a test starts, unless it says otherwise.
pub const ROOT_KEY: &str = "harness-root-key-5f1c2d7a9b3e4680-not-a-secret";

const START_LIMIT: Duration = Duration::from_secs(30);

/// A port of the loopback interface that nothing listens on.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("the loopback interface has a free port")
        .port()
}

/// The program under test: `KEYRACK_TEST_PROGRAM`, or `keyrack` in the folder that the test executable was built into.
///
/// # Panics
/// When it has not been built.
pub fn program_under_test() -> PathBuf {
    if let Some(told) = std::env::var_os("KEYRACK_TEST_PROGRAM") {
        return told.into();
    }
    // The test executable is `<target>/<profile>/deps/<name>-<hash>`.
    let this = std::env::current_exe().expect("a process knows its program");
    let name = format!("keyrack{}", std::env::consts::EXE_SUFFIX);
    let program = this.parent().and_then(Path::parent).expect("it was built into a folder").join(name);
    assert!(
        program.is_file(),
        "there is no {}: run `cargo build`, or the tests with tests/run",
        program.display()
    );
    program
}

/// What the program is told when it starts: fresh data on SQLite unless something else is asked for.
#[derive(Debug, Clone)]
pub struct Program {
    binary: PathBuf,
    folder: Arc<TempDir>,
    environment: Vec<(String, String)>,
    /// Another program and its arguments, which starts this one with its own.
    launcher: Vec<String>,
    inspect: Option<fn(&Answer)>,
}

impl Program {
    /// The program at this path, with an empty data directory of its own. Clones share the data directory.
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        let folder =
            tempfile::Builder::new().prefix("keyrack-test-").tempdir().expect("a temporary folder can be made");
        Self {
            binary: binary.into(),
            folder: Arc::new(folder),
            environment: vec![
                ("KEYRACK_BOOTSTRAP_ROOT_KEY".into(), ROOT_KEY.into()),
                // Many servers run at once, and only one could have the default address.
                ("KEYRACK_METRICS_LISTEN".into(), String::new()),
            ],
            launcher: Vec::new(),
            inspect: None,
        }
    }

    /// The same program with an empty data directory of its own.
    #[must_use]
    pub fn elsewhere(&self) -> Self {
        Self { folder: Self::new("").folder, ..self.clone() }
    }

    /// Starts it through another program, which gets it and its arguments as its own last arguments and becomes it.
    #[must_use]
    pub fn through(mut self, launcher: &[&str]) -> Self {
        self.launcher = launcher.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Sets an environment variable of the program.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self = self.without_env(name);
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Leaves an environment variable out that was set before.
    #[must_use]
    pub fn without_env(mut self, name: &str) -> Self {
        self.environment.retain(|(known, _)| known != name);
        self
    }

    /// Uses a new, empty database of the engine under test: SQLite, or PostgreSQL with `KEYRACK_TEST_ENGINE=postgres`.
    ///
    /// # Panics
    /// When the variable names another engine.
    pub async fn on_engine(self) -> Self {
        match std::env::var("KEYRACK_TEST_ENGINE").as_deref() {
            Ok("postgres") => self.on_postgres().await,
            Ok("sqlite") | Err(_) => self,
            Ok(other) => panic!("KEYRACK_TEST_ENGINE is sqlite or postgres, not {other}"),
        }
    }

    /// Uses a new, empty PostgreSQL database.
    pub async fn on_postgres(self) -> Self {
        let url = fresh_postgres_database().await;
        self.env("KEYRACK_DATABASE_URL", &url)
    }

    /// Shows every answer to `inspect`, which panics on a bad one.
    #[must_use]
    pub fn inspected(mut self, inspect: fn(&Answer)) -> Self {
        self.inspect = Some(inspect);
        self
    }

    /// The data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The connection URL of its database: the one it was told, or the SQLite file in its data directory.
    pub fn database_url(&self) -> String {
        let told = self.environment.iter().find(|(name, _)| name == "KEYRACK_DATABASE_URL");
        told.map_or_else(
            || format!("sqlite://{}", self.data_dir().join("keyrack.db").display()),
            |(_, url)| url.clone(),
        )
    }

    /// The program with these arguments and nothing of the caller's environment but PATH.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut words = self.launcher.iter().map(OsStr::new).chain([self.binary.as_os_str()]);
        let mut command = Command::new(words.next().unwrap_or_default());
        command
            .args(words)
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.path())
            .env("KEYRACK_DATA_DIR", self.data_dir())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    /// Starts `keyrack serve` and waits until it is ready.
    ///
    /// # Panics
    /// When it is not ready within 30 seconds, with what it wrote to stderr.
    pub async fn start(&self) -> Server {
        let mut last = String::new();
        for _ in 0..3 {
            match self.try_start(free_port()).await {
                Ok(server) => return server,
                // Another test took the port between the look and the start.
                Err(stderr) if stderr.contains("in use") => last = stderr,
                Err(stderr) => panic!("keyrack serve did not start:\n{stderr}"),
            }
        }
        panic!("keyrack serve found no free port:\n{last}");
    }

    /// Starts `keyrack serve` where it should refuse: its exit status and what it wrote to stderr.
    ///
    /// # Panics
    /// When it is still running after 30 seconds or becomes ready.
    pub async fn start_refused(&self) -> String {
        match self.try_start(free_port()).await {
            Ok(_) => panic!("keyrack serve started although it should have refused"),
            Err(stderr) => stderr,
        }
    }

    async fn try_start(&self, port: u16) -> Result<Server, String> {
        let log = self.folder.path().join(format!("stderr-{port}.log"));
        let stderr = File::options().create(true).append(true).open(&log).expect("the log file can be opened");
        let child = self
            .command(&["serve"])
            .env("KEYRACK_LISTEN", format!("127.0.0.1:{port}"))
            .stdout(stderr.try_clone().expect("a file handle can be copied"))
            .stderr(stderr)
            .spawn()
            .unwrap_or_else(|fault| panic!("{} cannot be run: {fault}", self.binary.display()));
        let mut client = Client::new(&format!("http://127.0.0.1:{port}"), ROOT_KEY);
        if let Some(inspect) = self.inspect {
            client = client.inspected(inspect);
        }
        let mut server = Server { program: self.clone(), child, port, log, client };
        server.wait_until_ready().await?;
        if let Some(root_key) = self.own_root_key() {
            server.client = server.client.with_key(&root_key);
        }
        Ok(server)
    }

    /// The root key that the first start wrote, unless there is a bootstrap root key, which keeps it from writing one.
    fn own_root_key(&self) -> Option<String> {
        let has_bootstrap_key =
            self.environment.iter().any(|(name, _)| name.starts_with("KEYRACK_BOOTSTRAP_ROOT_KEY"));
        let written = std::fs::read_to_string(self.data_dir().join("root-key")).ok();
        written.filter(|_| !has_bootstrap_key).map(|root_key| root_key.trim().to_owned())
    }
}

/// A running `keyrack serve`; ended with SIGKILL when dropped. Dereferences to a [`Client`] with the
/// bootstrap root key, or where there is none with the one that the first start wrote.
#[derive(Debug)]
pub struct Server {
    program: Program,
    child: Child,
    port: u16,
    log: PathBuf,
    client: Client,
}

impl Deref for Server {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Server {
    /// The client that it dereferences to, to be moved into tasks.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The id of its process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// How it was started; start it again to have the same data.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.program.data_dir()
    }

    /// Everything it wrote to stdout and stderr so far.
    pub fn log(&self) -> String {
        read_lossy(&self.log)
    }

    /// Ends it like a power cut (SIGKILL), and starts it again on the same data.
    pub async fn kill_and_restart(mut self) -> Self {
        self.kill();
        self.program.start().await
    }

    /// The same at the same address, for whoever is connected to it.
    ///
    /// # Panics
    /// When it is not ready within 30 seconds, or another test took the port meanwhile.
    pub async fn kill_and_restart_in_place(mut self) -> Self {
        self.kill();
        self.program
            .try_start(self.port)
            .await
            .unwrap_or_else(|stderr| panic!("it did not start again:\n{stderr}"))
    }

    /// Ends it like a power cut (SIGKILL).
    pub fn kill(&mut self) {
        // Fails only when it has ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends a signal by name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let done = Command::new("sh")
            .args(["-c", &format!("kill -{name} {}", self.child.id())])
            .status()
            .expect("sh can be run");
        assert!(done.success(), "signal {name} was not delivered");
    }

    /// Whether it is still running.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for it to end by itself.
    ///
    /// # Panics
    /// When it is still running after `limit`.
    pub async fn wait_for_exit(&mut self, limit: Duration) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status;
            }
            assert!(started.elapsed() < limit, "still running after {limit:?}:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn wait_until_ready(&mut self) -> Result<(), String> {
        let started = Instant::now();
        let url = format!("{}/readyz", self.client.base());
        let http = crate::http_client();
        while started.elapsed() < START_LIMIT {
            if !self.is_running() {
                return Err(self.log());
            }
            if let Ok(answer) = http.get(&url).send().await
                && answer.status().as_u16() == 200
            {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.kill();
        Err(format!("not ready after {START_LIMIT:?}\n{}", self.log()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn read_lossy(path: &Path) -> String {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
