//! What changes touch, as the change feed names it.

/// A thing that a mutation touched.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each variant holds the id of the thing it names")]
pub enum Subject {
    Api(String),
    Identity(String),
    Key(String),
    KeyMigration(String),
    Namespace(String),
    Override(String),
    Permission(String),
    Role(String),
    RootKey(String),
    Workspace(String),
}

impl Subject {
    /// From what is stored; `None` for a kind that this program does not know.
    pub(crate) fn new(kind: &str, id: String) -> Option<Subject> {
        Some(match kind {
            "api" => Subject::Api(id),
            "identity" => Subject::Identity(id),
            "key" => Subject::Key(id),
            "keyMigration" => Subject::KeyMigration(id),
            "namespace" => Subject::Namespace(id),
            "override" => Subject::Override(id),
            "permission" => Subject::Permission(id),
            "role" => Subject::Role(id),
            "rootKey" => Subject::RootKey(id),
            "workspace" => Subject::Workspace(id),
            _ => return None,
        })
    }

    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Subject::Api(_) => "api",
            Subject::Identity(_) => "identity",
            Subject::Key(_) => "key",
            Subject::KeyMigration(_) => "keyMigration",
            Subject::Namespace(_) => "namespace",
            Subject::Override(_) => "override",
            Subject::Permission(_) => "permission",
            Subject::Role(_) => "role",
            Subject::RootKey(_) => "rootKey",
            Subject::Workspace(_) => "workspace",
        }
    }

    pub(crate) fn id(&self) -> &str {
        match self {
            Subject::Api(id)
            | Subject::Identity(id)
            | Subject::Key(id)
            | Subject::KeyMigration(id)
            | Subject::Namespace(id)
            | Subject::Override(id)
            | Subject::Permission(id)
            | Subject::Role(id)
            | Subject::RootKey(id)
            | Subject::Workspace(id) => id,
        }
    }
}
