//! What the settings say of the texts of keys that assistants make or ask for: how they reach their users.

use anyhow::{Context as _, ensure};
use keyrack_mcp_server::Secrets;

use crate::assistants::Handing;
use crate::settings::{self, Settings};

/// The folder of the data folder that keys of assistants are written to.
const FOLDER: &str = "secrets";

/// How a server hands over the texts of keys; `public_url` is where clients reach it.
///
/// # Errors
/// For files, which nobody who connects from elsewhere could read, and for links that would lead nowhere.
pub(crate) fn secrets_of_server(settings: &Settings, public_url: &str) -> anyhow::Result<Secrets> {
    let handing = settings.get(&settings::MCP_SECRETS)?;
    ensure!(
        handing != Handing::File,
        "KEYRACK_MCP_SECRETS: `file` is for `keyrack mcp` alone, whose user is on the same machine; say `claim` or `inline`"
    );
    let is_anywhere = settings.get(&settings::LISTEN)?.ip().is_unspecified();
    ensure!(
        handing != Handing::Claim || !is_anywhere || settings.is_given(&settings::PUBLIC_URL),
        "KEYRACK_MCP_SECRETS: `claim` makes links to this server; say with KEYRACK_PUBLIC_URL where clients reach it"
    );
    Ok(match handing {
        Handing::Claim => Secrets::Claim { server: public_url.to_owned() },
        Handing::Inline | Handing::File => Secrets::Inline,
    })
}

/// How `keyrack mcp` hands over the texts of keys.
///
/// # Errors
/// For links, when no server that could show them is named.
pub(crate) fn secrets_of_stdio(settings: &Settings) -> anyhow::Result<Secrets> {
    Ok(match settings.get(&settings::MCP_SECRETS)? {
        Handing::Inline => Secrets::Inline,
        Handing::Claim => Secrets::Claim {
            server: settings.get(&settings::PUBLIC_URL)?.context(
                "KEYRACK_MCP_SECRETS: `claim` needs a server on the same database, which has the page of the link; start \
                 `keyrack serve` and say where clients reach it with --public-url or KEYRACK_PUBLIC_URL",
            )?,
        },
        Handing::File => Secrets::File { folder: settings.get(&settings::DATA_DIR)?.join(FOLDER) },
    })
}
