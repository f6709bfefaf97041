//! Commands that tests wait for, though not for ever.

use std::io::{Read, Write as _};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How long a command may take on a machine that has other work. The test runner ends the test itself later.
const LIMIT: Duration = Duration::from_secs(100);

/// Runs a command to its end: its exit status, and what it wrote.
///
/// # Panics
/// When it cannot be run. When it has not ended after a hundred seconds: then it is killed.
pub fn ended(command: &mut Command) -> Output {
    ended_with_stdin(command, "")
}

/// The same for a command that reads this on its standard input.
///
/// # Panics
/// As [`ended`].
pub fn ended_with_stdin(command: &mut Command, stdin: &str) -> Output {
    let started = Instant::now();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|fault| panic!("{command:?} cannot be run: {fault}"));
    let (mut pipe, told) = (child.stdin.take().expect("a pipe"), stdin.to_owned());
    // A command that reads nothing may be gone by then.
    std::thread::spawn(move || drop(pipe.write_all(told.as_bytes())));
    let stdout = written(child.stdout.take().expect("a pipe"));
    let stderr = written(child.stderr.take().expect("a pipe"));
    let left = || LIMIT.saturating_sub(started.elapsed());
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            break status;
        }
        if left().is_zero() {
            let _ = child.kill();
            let wrote = [stdout, stderr].map(|stream| so_far(&stream, Duration::from_secs(1)).0);
            panic!("{command:?} has not ended after {LIMIT:?}; it wrote {wrote:?}");
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let [stdout, stderr] = [stdout, stderr].map(|stream| {
        let (bytes, is_all) = so_far(&stream, left());
        assert!(is_all, "{command:?} has ended, and something that it started holds its output open");
        bytes
    });
    Output { status, stdout, stderr }
}

/// Reads a stream to its end, beside everything else.
fn written(mut stream: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut chunk = [0; 8192];
        while let Ok(count @ 1..) = stream.read(&mut chunk) {
            if sender.send(chunk[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}

/// What a stream has brought when it ends or so much time has passed, and whether it has ended.
fn so_far(stream: &Receiver<Vec<u8>>, patience: Duration) -> (Vec<u8>, bool) {
    let (started, mut bytes) = (Instant::now(), Vec::new());
    loop {
        match stream.recv_timeout(patience.saturating_sub(started.elapsed())) {
            Ok(more) => bytes.extend(more),
            Err(RecvTimeoutError::Disconnected) => return (bytes, true),
            Err(RecvTimeoutError::Timeout) => return (bytes, false),
        }
    }
}
