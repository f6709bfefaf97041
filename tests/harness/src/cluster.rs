//! Several `keyrack serve` on one database, each of which can be paused, killed and cut off from it.

use std::ops::Index;

use crate::{Program, Road, Server, Traffic, fresh_postgres_database};

/// Several processes on one database. `cluster[0]` is the first of them.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Node>,
    database_url: String,
}

/// A process, its way of starting, and its road to the database.
#[derive(Debug)]
struct Node {
    program: Program,
    /// Only on PostgreSQL.
    road: Option<Road>,
    /// None while it is killed.
    server: Option<Server>,
}

impl Index<usize> for Cluster {
    type Output = Server;

    fn index(&self, node: usize) -> &Server {
        self.nodes[node].server.as_ref().unwrap_or_else(|| panic!("process {node} was killed and not started"))
    }
}

impl Cluster {
    /// So many processes of this program on one SQLite file; they share its data directory.
    pub async fn on_sqlite(program: &Program, count: usize) -> Self {
        let node = || Node { program: program.clone(), road: None, server: None };
        let nodes = (0..count).map(|_| node()).collect();
        Self { nodes, database_url: program.database_url() }.started().await
    }

    /// So many processes of this program on one new PostgreSQL database, each with a data directory and a [`Road`]
    /// of its own.
    pub async fn on_postgres(program: &Program, count: usize) -> Self {
        let database_url = fresh_postgres_database().await;
        let mut nodes = Vec::new();
        for _ in 0..count {
            let (road, detour) = Road::to(&database_url).await;
            let program = program.elsewhere().env("KEYRACK_DATABASE_URL", &detour);
            nodes.push(Node { program, road: Some(road), server: None });
        }
        Self { nodes, database_url }.started().await
    }

    async fn started(mut self) -> Self {
        // One after the other: the first makes the database.
        for node in 0..self.len() {
            self.start(node).await;
        }
        self
    }

    /// How many processes there are, those that are killed included.
    #[expect(clippy::len_without_is_empty, reason = "a cluster has processes")]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The URL of the database that all of them use, by no road.
    pub fn database_url(&self) -> &str {
        &self.database_url
    }

    /// The road of a process to the database; none on SQLite.
    pub fn road(&self, node: usize) -> Option<&Road> {
        self.nodes[node].road.as_ref()
    }

    /// Changes what happens on the road of a process.
    ///
    /// # Panics
    /// On SQLite, to which no road leads.
    pub fn set_traffic(&self, node: usize, traffic: Traffic) {
        self.road(node).expect("a road leads to PostgreSQL alone").set(traffic);
    }

    /// Suspends a process (SIGSTOP), as on a closed laptop.
    pub fn pause(&self, node: usize) {
        self[node].signal("STOP");
    }

    /// Lets a suspended process go on.
    pub fn resume(&self, node: usize) {
        self[node].signal("CONT");
    }

    /// Ends a process like a power cut (SIGKILL).
    pub fn kill(&mut self, node: usize) {
        // Dropped, it is killed.
        self.nodes[node].server = None;
    }

    /// Starts a process that was killed, and waits until it is ready.
    pub async fn start(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        node.server = Some(node.program.start().await);
    }
}
