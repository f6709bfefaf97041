//! Where settings come from, and what is said of wrong ones.

use super::*;

fn read(arguments: &[&str]) -> anyhow::Result<Settings> {
    let command = add_flags(Command::new("serve"), Flags::Serve);
    Settings::read(&command.get_matches_from(arguments))
}

#[test]
fn a_flag_beats_the_file_and_the_file_beats_the_default() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keyrack.toml");
    std::fs::write(&file, "listen = '127.0.0.1:9001'\ndrain_seconds = 7\n").unwrap();
    let file = file.to_str().unwrap();
    let settings = read(&["serve", "--config", file, "--listen", "127.0.0.1:9002"]).unwrap();
    assert_eq!(settings.listen().unwrap().port(), 9002);
    assert_eq!(settings.drain().unwrap().as_secs(), 7);
    assert_eq!(settings.mcp_calls_per_minute().unwrap(), 300);
}

#[test]
fn a_secret_file_that_is_a_flag_beats_a_secret_from_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let (settings_file, key_file) = (folder.path().join("keyrack.toml"), folder.path().join("key"));
    std::fs::write(&settings_file, "root_key = 'from the settings'").unwrap();
    std::fs::write(&key_file, "from the flag\n").unwrap();
    let command = add_flags(Command::new("mcp"), Flags::Mcp);
    let read = |flags: &[&str]| {
        let line = ["mcp", "--config", settings_file.to_str().unwrap()].into_iter().chain(flags.iter().copied());
        let settings = Settings::read(&command.clone().get_matches_from(line)).unwrap();
        settings.root_key().unwrap().unwrap().expose().to_owned()
    };
    assert_eq!(read(&[]), "from the settings");
    assert_eq!(read(&["--root-key-file", key_file.to_str().unwrap()]), "from the flag");
}

#[test]
fn an_unknown_entry_of_the_file_is_refused_with_the_nearest_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keyrack.toml");
    std::fs::write(&file, "lisen = '127.0.0.1:9001'\n").unwrap();
    let error = read(&["serve", "--config", file.to_str().unwrap()]).unwrap_err().to_string();
    assert!(error.ends_with("unknown entry `lisen`; did you mean `listen`?"), "{error}");
}

#[test]
fn an_unreadable_value_says_where_it_came_from_and_what_is_allowed() {
    let error = read(&["serve", "--listen", "here"]).unwrap().listen().unwrap_err().to_string();
    assert_eq!(error, "--listen: must be an address and a port, such as 127.0.0.1:8080");
}

#[test]
fn an_empty_metrics_address_means_nowhere() {
    let address = |arguments: &[&str]| read(arguments).unwrap().metrics_listen();
    assert_eq!(address(&["serve", "--metrics-listen", ""]).unwrap(), None);
    let chosen = address(&["serve", "--metrics-listen", "127.0.0.1:9"]).unwrap();
    assert_eq!(chosen, Some(("127.0.0.1:9".parse().unwrap(), true)));
    assert!(address(&["serve", "--metrics-listen", "9090"]).is_err());
}
