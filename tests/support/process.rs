//! The built program as a process of its own: started in a folder, heard through its log, ended by signals.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The program under test: the one built along, or another that `SINKSCOPE_TEST_PROGRAM` names, so that a test can be
/// held against an older build.
pub fn program() -> String {
    std::env::var("SINKSCOPE_TEST_PROGRAM").unwrap_or_else(|_| env!("CARGO_BIN_EXE_sinkscope").to_owned())
}

/// How long to wait for what must happen; far above what it takes, for machines that are busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A temporary folder with files in it.
pub struct Folder {
    dir: tempfile::TempDir,
}

impl Folder {
    /// Has these files, in folders if their names say so.
    pub fn new(files: &[(&str, &str)]) -> Folder {
        let folder = Folder { dir: tempfile::tempdir().expect("a temporary folder") };
        files.iter().for_each(|(name, text)| folder.write(name, text));
        folder
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Where a file of it is.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file in place.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.file(name);
        fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }

    /// Copies the project's folder of that name into it.
    pub fn copy_from_project(&self, folder: &str) {
        fs::create_dir_all(self.file(folder)).expect("a folder");
        for entry in
            fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).expect("a folder of the project")
        {
            let path = entry.expect("an entry").path();
            fs::copy(&path, self.file(folder).join(path.file_name().expect("a name"))).expect("a copy");
        }
    }

    /// `text` without the part of paths that is different in every run.
    pub fn anonymous(&self, text: &str) -> String {
        text.replace(&self.path().display().to_string(), "DIR")
    }
}

/// What a run that ends by itself came to.
#[derive(Debug)]
pub struct Ended {
    /// Exit code.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// The program, to be run in a folder; nothing of the environment configures it.
pub fn command(folder: &Path) -> Command {
    in_folder(Command::new(program()), folder)
}

/// A command whose environment does not configure Sinkscope.
pub fn in_folder(mut command: Command, folder: &Path) -> Command {
    command.current_dir(folder).stdin(Stdio::null()).env_remove("COLUMNS");
    for (key, _) in std::env::vars_os() {
        if key.to_string_lossy().starts_with("SINKSCOPE_") {
            command.env_remove(key);
        }
    }
    command
}

/// Runs the program to its end.
pub fn run<A: AsRef<OsStr>>(folder: &Folder, args: &[A]) -> Ended {
    let output = command(folder.path()).args(args).output().expect("the program runs");
    let text = |octets: &[u8]| folder.anonymous(&String::from_utf8_lossy(octets));
    Ended { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

/// A program that serves. Dropping it kills it.
pub struct Program {
    child: Child,
    log: Arc<Log>,
    listener: Option<JoinHandle<()>>,
    /// UDP addresses it listens on.
    pub udp: Vec<SocketAddr>,
    /// TCP addresses it listens on.
    pub tcp: Vec<SocketAddr>,
}

impl Program {
    /// Starts `sinkscope serve` with more arguments and waits until it serves. A port left to the system is the same for
    /// UDP and TCP.
    ///
    /// # Panics
    /// If it does not serve.
    pub fn serve(folder: &Folder, args: &[&str]) -> Program {
        let mut serve = command(folder.path());
        serve.arg("serve").args(args);
        let program = Program::start(serve).unwrap_or_else(|log| panic!("it does not serve:\n{log}"));
        assert_eq!(program.udp, program.tcp, "{}", program.log());
        program
    }

    /// Serves the folder's `orders/` on a free port of 127.0.0.1 with this upstream.
    pub fn of(folder: &Folder, upstream: SocketAddr) -> Program {
        let upstream = upstream.to_string();
        Program::serve(folder, &["--listen", "127.0.0.1:0", "--upstream", &upstream, "--orders", "orders"])
    }

    /// Runs a command until the program in it serves.
    ///
    /// # Errors
    /// All it said if it ended instead.
    pub fn start(mut command: Command) -> Result<Program, String> {
        let mut child =
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let stderr = child.stderr.take().expect("standard error is a pipe");
        let log = Arc::<Log>::default();
        let listener = std::thread::spawn({
            let log = Arc::clone(&log);
            move || {
                BufReader::new(stderr).lines().map_while(Result::ok).for_each(|line| log.push(line));
                log.end();
            }
        });
        let mut program = Program { child, log, listener: Some(listener), udp: Vec::new(), tcp: Vec::new() };
        // Whom it asks is said last of what is always said; it serves by then.
        let serves = |line: &str| line.contains(" asking ") || line.contains("NO UPSTREAM");
        if program.log.wait(0, PATIENCE, serves).is_none() {
            let _ = program.child.wait();
            return Err(program.log());
        }
        for line in program.log().lines() {
            if let Some((_, rest)) = line.split_once("listening on ") {
                let (transport, addr) = rest.split_once(' ').expect("a transport and an address");
                let list = if transport == "udp" { &mut program.udp } else { &mut program.tcp };
                list.push(addr.trim().parse().expect("an address"));
            }
        }
        Ok(program)
    }

    /// The first UDP address it listens on.
    pub fn addr(&self) -> SocketAddr {
        *self.udp.first().expect("it listens on UDP")
    }

    /// All it said so far.
    pub fn log(&self) -> String {
        self.log.state.lock().expect("the log").0.join("\n")
    }

    /// How many lines it said so far: a mark to wait from.
    pub fn mark(&self) -> usize {
        self.log.state.lock().expect("the log").0.len()
    }

    /// The first line from `mark` on that contains `text`, waited for.
    ///
    /// # Panics
    /// If it does not come.
    pub fn wait_for(&self, mark: usize, text: &str) -> String {
        self.log
            .wait(mark, PATIENCE, |line| line.contains(text))
            .unwrap_or_else(|| panic!("nothing says {text:?}:\n{}", self.log()))
    }

    /// Sends a signal by name: TERM, HUP, KILL.
    pub fn signal(&self, signal: &str) {
        // The shell's own `kill`: the program of that name is not everywhere.
        let kill = format!("kill -{signal} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &kill]).status().expect("a shell");
        assert!(status.success(), "{kill}");
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it does not end.
    pub fn wait(&mut self) -> ExitStatus {
        assert!(self.log.wait_end(PATIENCE), "it does not end:\n{}", self.log());
        self.child.wait().expect("an exit status")
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// A number of its `/proc/PID/status` such as VmRSS, in the unit given there; none where there is no such file.
    pub fn status(&self, key: &str) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse().ok()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
        if std::thread::panicking() {
            eprintln!("its log:\n{}", self.log());
        }
    }
}

/// What the program says, line by line.
#[derive(Default)]
struct Log {
    /// The lines, and whether there will be no more.
    state: Mutex<(Vec<String>, bool)>,
    changed: Condvar,
}

impl Log {
    fn push(&self, line: String) {
        self.state.lock().expect("the log").0.push(line);
        self.changed.notify_all();
    }

    fn end(&self) {
        self.state.lock().expect("the log").1 = true;
        self.changed.notify_all();
    }

    /// The first line from `from` on that fits, waited for; none when time is up or there will be none.
    fn wait(&self, from: usize, limit: Duration, fits: impl Fn(&str) -> bool) -> Option<String> {
        let deadline = Instant::now() + limit;
        let mut state = self.state.lock().expect("the log");
        loop {
            if let Some(line) = state.0.iter().skip(from).find(|line| fits(line)) {
                return Some(line.clone());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state.1 || left.is_zero() {
                return None;
            }
            state = self.changed.wait_timeout(state, left).expect("the log").0;
        }
    }

    /// Whether it ended, waited for.
    fn wait_end(&self, limit: Duration) -> bool {
        let state = self.state.lock().expect("the log");
        self.changed.wait_timeout_while(state, limit, |state| !state.1).expect("the log").0.1
    }
}

/// Whether a tool of the system is there. Where tools are required it must be; else its absence is said aloud.
pub fn has_tool(tool: &str, package: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(tool).is_file()));
    if !found {
        skipped(&format!("`{tool}` is missing (Debian package {package})"));
    }
    found
}

/// Says aloud that a test is not run in full, or fails where that is not allowed.
pub fn skipped(why: &str) {
    let required = std::env::var_os("SINKSCOPE_REQUIRE_TOOLS").is_some_and(|value| value == "1");
    assert!(!required, "{why}, and SINKSCOPE_REQUIRE_TOOLS=1 is set");
    aloud(&format!("SKIPPED: {why}"));
}

/// Says something that the test harness does not swallow, as it does with `eprintln`.
pub fn aloud(text: &str) {
    let _ = writeln!(std::io::stderr(), "\n{text}");
}

/// Compares with `tests/golden/NAME`; with SINKSCOPE_BLESS=1 set, writes it instead.
pub fn golden(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("SINKSCOPE_BLESS").is_some() {
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, found).expect("a golden file");
        return;
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(expected == found, "{}\nexpected:\n{expected}\nfound:\n{found}", path.display());
}
