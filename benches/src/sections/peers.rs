//! A verification against other ways to have one.

use std::fs;
use std::path::Path;

use anyhow::Result;

use super::{Bench, throughput};
use crate::keyrack::{PERMISSION, Population};
use crate::load::Target;
use crate::report::{Goal, Report};
use crate::rounds::{Variant, alternate};
use crate::seed::key_text;
use crate::server::{Server, free_port, mortal};

/// Throughput of Keyrack, with and without credits, against better-auth, a Redis script and SQL.
pub(super) fn peers(bench: &Bench, report: &mut Report) -> Result<()> {
    let settings = &bench.settings;
    let hot = bench.databases.get(settings, "hot", Population::HOT)?;
    let paid = bench.databases.get(settings, "credits", Population { credits: true, ..Population::HOT })?;
    let keys: Vec<_> = (0..Population::HOT.keys).map(key_text).collect();
    let key_file = settings.scratch.join("keys");
    fs::write(&key_file, keys.join("\n"))?;
    let (target, credits_target) = (hot.verifications(settings)?, paid.verifications(settings)?);
    let better_auth_target = better_auth_target(bench, &keys)?;

    let keyrack = hot.start(settings, &[])?;
    let keyrack_credits = paid.start(settings, &[])?;
    let better_auth = better_auth(bench, &key_file)?;
    let redis = redis(bench, &key_file)?;
    let normal = sql(bench, "normal", &key_file)?;
    let full = sql(bench, "full", &key_file)?;
    let variants = [
        Variant::new(settings, "keyrack verify", &keyrack, &target),
        Variant::new(settings, "keyrack verify, durable credits", &keyrack_credits, &credits_target),
        Variant::new(settings, "better-auth", &better_auth, &better_auth_target),
        Variant::new(settings, "Redis script", &redis, &target),
        Variant::new(settings, "SQL transaction, normal", &normal, &target),
        Variant::new(settings, "SQL transaction, full", &full, &target),
    ];
    let rounds = alternate(settings, &settings.connections, &variants)?;
    for (above, below, goal) in [
        ("keyrack verify", "better-auth", Goal::AtLeast(40.0)),
        ("keyrack verify, durable credits", "better-auth", Goal::AtLeast(15.0)),
        ("keyrack verify", "Redis script", Goal::AtLeast(1.4)),
        ("keyrack verify", "SQL transaction, normal", Goal::AtLeast(7.0)),
        ("keyrack verify", "SQL transaction, full", Goal::None),
    ] {
        let what = format!("{above} ÷ {below}, throughput");
        report.ratio(&rounds, &what, (above, below), throughput, goal);
    }
    report.runs("peers", &rounds);
    Ok(())
}

/// better-auth asks for permissions as an object.
fn better_auth_target(bench: &Bench, keys: &[String]) -> Result<Target> {
    let body = |key| serde_json::json!({"key": key, "permissions": {"documents": ["read"]}}).to_string();
    let bodies: Vec<_> = keys.iter().map(body).collect();
    Target::new(&bench.settings, "better-auth", "/verify", "/valid", &bodies)
}

fn better_auth(bench: &Bench, keys: &Path) -> Result<Server> {
    let settings = &bench.settings;
    let port = free_port()?;
    let mut command = mortal("node");
    command
        .arg(settings.folder.join("better-auth/server.mjs"))
        .args([&port.to_string(), PERMISSION])
        .args([&settings.scratch.join("better-auth.db"), keys])
        .env("NODE_ENV", "production");
    Server::start(command, port, "/readyz", &settings.scratch.join("better-auth.log"))
}

/// A Redis that keeps nothing on disk, and the HTTP server in front of it; the CPU time of both counts.
fn redis(bench: &Bench, keys: &Path) -> Result<Server> {
    let settings = &bench.settings;
    let port = free_port()?.to_string();
    let mut command = mortal("redis-server");
    command.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    command.current_dir(&settings.scratch);
    let address = format!("redis://127.0.0.1:{port}");
    let front = |redis: &str| bench.peer("redis-script", &[redis, &keys.to_string_lossy()]);
    Server::behind(command, &settings.scratch.join("redis.log"), || front(&address))
}

fn sql(bench: &Bench, synchronous: &str, keys: &Path) -> Result<Server> {
    let file = bench.settings.scratch.join(format!("sql-{synchronous}.db"));
    bench.peer("sql-transaction", &[&file.to_string_lossy(), synchronous, &keys.to_string_lossy()])
}
