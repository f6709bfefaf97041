//! What many keys cost: memory, and time at the start.

use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::Bench;
use crate::keyrack::verification;
use crate::report::{Goal, Report, figure};
use crate::rounds::Spread;
use crate::seed::key_text;
use crate::server::Server;

/// What a start leaves to do is done by then.
const SETTLING: Duration = Duration::from_secs(1);
/// How often memory is measured: it hardly varies.
const STARTS: usize = 3;

/// Resident memory with all keys, less that without any, per key.
pub(super) fn memory(bench: &Bench, report: &mut Report) -> Result<()> {
    let (settings, large) = (&bench.settings, bench.largest()?);
    let empty = bench.many(0)?;
    let mut bytes = Vec::new();
    for _ in 0..STARTS.min(settings.rounds) {
        let (with, without) = (large.start(settings, &[])?, empty.start(settings, &[])?);
        thread::sleep(SETTLING);
        let difference = with.resident_bytes()?.saturating_sub(without.resident_bytes()?);
        bytes.push(difference as f64 / f64::from(settings.keys));
    }
    let what = format!("bytes of resident memory per key, {} keys", figure(f64::from(settings.keys)));
    report.goal(&what, Spread::of(bytes), Goal::AtMost(400.0));
    Ok(())
}

/// Time from the start of the process until it is ready and its first answers are right.
pub(super) fn start(bench: &Bench, report: &mut Report) -> Result<()> {
    let (settings, large) = (&bench.settings, bench.largest()?);
    let mut seconds = Vec::new();
    for _ in 0..settings.rounds {
        let server = large.start(settings, &[])?;
        check_first_answers(&server, settings.keys)?;
        seconds.push(server.started_in.as_secs_f64());
    }
    let what = format!("seconds until a server with {} keys is ready", figure(f64::from(settings.keys)));
    report.goal(&what, Spread::of(seconds), Goal::AtMost(3.0));
    Ok(())
}

/// Keys from everywhere are known, and one that was never made is not.
fn check_first_answers(server: &Server, keys: u32) -> Result<()> {
    for number in [0, keys / 3, keys / 2, keys - 1] {
        let answer = server.post("/v2/keys.verifyKey", &verification(&key_text(number)))?;
        ensure!(answer["data"]["valid"] == true, "key {number} of {keys} answered {answer}");
    }
    let answer = server.post("/v2/keys.verifyKey", &verification(&key_text(keys)))?;
    ensure!(answer["data"]["code"] == "NOT_FOUND", "a key that does not exist answered {answer}");
    Ok(())
}
