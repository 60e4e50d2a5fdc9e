use super::file::Loader;
use super::*;
use std::fs;

struct TempDir(PathBuf);

impl TempDir {
    fn new(name: &str) -> TempDir {
        let path = std::env::temp_dir().join(format!("shardis-config-{name}-{}", std::process::id()));
        _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("temporary directory");
        TempDir(path)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).expect("write");
        path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

fn load(text: &str) -> Result<Config, String> {
    let mut loader = Loader::new();
    loader.bytes(text.as_bytes(), "test.conf", 0).map_err(|error| error.to_string())?;
    Ok(loader.config)
}

fn args(words: &[&str]) -> Result<Config, String> {
    let words: Vec<String> = words.iter().map(|word| word.to_string()).collect();
    match from_args(&words, &mut &b"maxmemory 1kb\nport 1"[..]) {
        Ok(Start::Run(config)) => Ok(*config),
        Ok(Start::Print(text)) => Err(text),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn a_stock_file_loads_without_warnings() {
    let config = load(include_str!("../../tests/data/stock-redis-7.0.conf")).expect("loads");
    assert_eq!(config.text("bind"), "127.0.0.1 -::1");
    assert_eq!(config.bind(), [("127.0.0.1", false), ("::1", true)]);
    assert_eq!(config.text("auto-aof-rewrite-min-size"), "67108864");
    assert_eq!(config.text("proc-title-template"), "{title} {listen-addr} {server-mode}");
    assert_eq!(config.dir(), Path::new("/var/lib/redis"));
    assert_eq!(config.text("client-output-buffer-limit"), "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60");
    assert_eq!(config.warnings(), Vec::<String>::new());
}

#[test]
fn defaults_are_those_of_redis() {
    let config = Config::default();
    let mut differing = Vec::new();
    for line in include_str!("../../tests/data/config-get-7.0.15.txt").lines() {
        let (name, text) = line.split_once('\t').expect("name and text");
        let index = find(name).unwrap_or_else(|| panic!("{name} is not in the table"));
        if config.texts[index] != text {
            differing.push(name);
        }
    }
    differing.sort_unstable();
    // Only these are meant to differ.
    assert_eq!(differing, ["dir"]);
    assert_eq!(config.text("dir"), "./data");
}

#[test]
fn lines_are_read_as_redis_reads_them() {
    let config = load(
        "# comment\n\n  PORT 7000 \r\nrequirepass \"a \\x41\"\nmaxmemory 1k\nslaveof h 1\nuser a on\nuser b off nopass\nrename-command FLUSHALL \"\"\n",
    );
    let config = config.expect("loads");
    assert_eq!(config.port(), 7000);
    assert_eq!(config.text("requirepass"), "a A");
    assert_eq!(config.number::<u64>("maxmemory"), 1000);
    assert_eq!(config.text("replicaof"), "h 1");
    assert_eq!(config.lines("user").collect::<Vec<_>>(), [&["a", "on"][..], &["b", "off", "nopass"]]);
    assert_eq!(config.lines("rename-command").collect::<Vec<_>>(), [&["FLUSHALL", ""]]);
}

#[test]
fn save_lines_add_up_and_replace_the_default() {
    for (text, expected) in [
        ("", "3600 1 300 100 60 10000"),
        ("save 900 1\nsave 300 10", "900 1 300 10"),
        ("save 900 1 300 10", "900 1 300 10"),
        ("save \"\"", ""),
        ("save 900 1\nsave \"\"", ""),
        ("save \"\"\nsave 60 5", "60 5"),
    ] {
        assert_eq!(load(text).expect("loads").text("save"), expected, "{text}");
    }
    assert_eq!(load("save 9 8").expect("loads").save_points(), [SavePoint { seconds: 9, changes: 8 }]);
}

#[test]
fn a_bad_line_is_named_with_redis_reason() {
    for (line, reason) in [
        ("port abc", "argument couldn't be parsed into an integer"),
        ("port 1 2", "wrong number of arguments"),
        ("port", "wrong number of arguments"),
        ("port 70000", "argument must be between 0 and 65535 inclusive"),
        ("foo bar", "Bad directive or wrong number of arguments"),
        ("save \"a", "Unbalanced quotes in configuration line"),
        ("save 1", "Invalid save parameters"),
        ("replicaof a", "wrong number of arguments"),
        ("replicaof a 99999999", "Invalid master port"),
        ("appendonly maybe", "argument must be 'yes' or 'no'"),
        ("unixsocketperm 8", "argument couldn't be parsed as an octal number"),
        ("rename-command NOPE x", "No such command in rename-command"),
        ("rename-command GET set", "Target command name already exists"),
        ("rename-command A", "Bad directive or wrong number of arguments"),
        ("appendfilename a/b", "the name can't be a path, just a filename"),
    ] {
        let error = load(&format!("hz 10\n{line}\n")).expect_err(line);
        let version = env!("CARGO_PKG_VERSION");
        let expected = format!(
            "\n*** FATAL CONFIG FILE ERROR (Shardis {version}) ***\nReading the configuration file, at line 2 of test.conf\n>>> '{line}'\n{reason}"
        );
        assert_eq!(error, expected);
    }
}

#[test]
fn includes_are_read_in_place() {
    let dir = TempDir::new("include");
    dir.file("b.conf", "port 2\nhz 20");
    dir.file("a.conf", "port 1\n");
    let main = dir.file("main.conf", &format!("port 9\ninclude {0}/?.conf\ninclude {0}/none-*.conf\nhz 30", dir.0.display()));
    let config = args(&[main.to_str().expect("text")]).expect("loads");
    assert_eq!((config.port(), config.number::<i64>("hz")), (2, 30));
    assert_eq!(config.file(), Some(&*main));
    let missing = load("include /does/not/exist").expect_err("missing");
    assert!(missing.starts_with("Fatal error, can't open config file '/does/not/exist': No such file"), "{missing}");
    let endless = dir.file("endless.conf", &format!("include {}/endless.conf", dir.0.display()));
    assert!(args(&[endless.to_str().expect("text")]).expect_err("endless").contains("files deep"));
}

#[test]
fn the_command_line_is_that_of_redis() {
    let config = args(&[
        "--port",
        "7000",
        "--save",
        "900",
        "1",
        "--save",
        "300",
        "10",
        "--requirepass",
        "",
        "--list-max-listpack-size",
        "-3",
    ]);
    let config = config.expect("loads");
    assert_eq!((config.port(), config.text("save"), config.text("list-max-listpack-size")), (7000, "900 1 300 10", "-3"));
    assert_eq!(args(&["--save", "3600 1 300 10", "--port", "7"]).expect("loads").text("save"), "3600 1 300 10");
    assert_eq!(args(&["--save", "", "--appendonly=yes"]).expect("loads").text("save"), "");
    let config = args(&["-", "--port", "2"]).expect("loads");
    assert_eq!((config.port(), config.text("maxmemory")), (2, "1024"));
    assert_eq!(args(&["--hz", "7", "-"]).expect("loads").port(), 1);
    assert_eq!(args(&[]).expect("loads").port(), 6379);
    for (words, expected) in [
        (&["--port"][..], "wrong number of arguments"),
        (&["--nonsense", "1"], "Bad directive or wrong number of arguments"),
        (&["-p", "1"], "'-p' belongs to no flag; flags begin with --, see --help"),
        (&["/no/such.conf"], "Fatal error, can't open config file '/no/such.conf': No such file or directory (os error 2)"),
    ] {
        let error = args(words).expect_err("refused");
        assert!(error.ends_with(expected), "{error}");
    }
}

#[test]
fn help_names_every_directive_that_is_used() {
    let help = args(&["--help"]).expect_err("printed");
    for directive in DIRECTIVES.iter().filter(|directive| directive.meaning == Meaning::Used && !directive.hidden) {
        assert!(help.contains(directive.name), "{}", directive.name);
    }
    assert_eq!(args(&["-v"]).expect_err("printed"), format!("shardis-server {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn config_get_takes_patterns_and_names() {
    let config = load("maxmemory 2mb\nsave 1 2").expect("loads");
    let get =
        |patterns: &[&str]| config.get(patterns).into_iter().map(|(name, text)| format!("{name}={text}")).collect::<Vec<_>>();
    assert_eq!(get(&["maxmemory"]), ["maxmemory=2097152"]);
    assert_eq!(get(&["SAVE", "save", "s?ve", "none", "user"]), ["SAVE=1 2", "save=1 2"]);
    assert_eq!(get(&["hash-max-*-value"]), ["hash-max-listpack-value=64", "hash-max-ziplist-value=64"]);
    assert_eq!(get(&["key-load-delay"]), ["key-load-delay=0"], "hidden ones by their name only");
    assert_eq!(get(&["key-load*"]), [""; 0]);
    let here = std::env::current_dir().expect("here").join("data");
    assert_eq!(get(&["dir"]), [format!("dir={}", here.display())]);
}

/// Texts compared with redis-server 7.0.15.
#[test]
fn config_set_answers_as_redis_does() {
    let related =
        |name: &str, reason: &str| Err(format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}"));
    let ok = |text: &str| Ok(text.to_string());
    let limits = "normal 1048576 1 1 slave 268435456 67108864 60 pubsub 33554432 8388608 60";
    for (words, expected) in [
        (&["foo", "1"][..], Err("ERR Unknown option or number of arguments for CONFIG SET - 'foo'".to_string())),
        (&["maxmemory", "1gb", "hz"], Err("ERR syntax error".to_string())),
        (&["maxmemory", "1", "maxmemory", "2"], related("maxmemory", "duplicate parameter")),
        (&["databases", "4"], related("databases", "can't set immutable config")),
        (&["dir", "/tmp"], related("dir", "can't set protected config")),
        (&["maxmemory", "1x"], related("maxmemory", "argument must be a memory value")),
        (&["appendfsync", "foo"], related("appendfsync", "argument(s) must be one of the following: everysec, always, no")),
        (&["appendfsync", "ALWAYS"], ok("always")),
        (&["save", "900 1 5"], related("save", "Invalid save parameters")),
        (&["save", "100 1 200 2"], ok("100 1 200 2")),
        (&["save", ""], ok("")),
        (&["maxmemory-clients", "200%"], related("maxmemory-clients", "percentage argument must be less or equal to 100")),
        (&["maxmemory-clients", "x"], related("maxmemory-clients", "argument must be a memory or percent value")),
        (&["maxmemory-clients", "5%"], ok("5%")),
        (
            &["notify-keyspace-events", "q"],
            related("notify-keyspace-events", "Invalid event class character. Use 'Ag$lshzxeKEtmdn'."),
        ),
        (&["notify-keyspace-events", "EKA"], ok("AKE")),
        (&["notify-keyspace-events", "Kx$g"], ok("g$xK")),
        (&["client-output-buffer-limit", "normal 1mb 1 1"], ok(limits)),
        (
            &["client-output-buffer-limit", "foo 1 1 1"],
            related("client-output-buffer-limit", "Invalid client class specified in buffer limit configuration."),
        ),
        (
            &["client-output-buffer-limit", "normal 1"],
            related("client-output-buffer-limit", "Wrong number of arguments in buffer limit configuration."),
        ),
        (&["oom-score-adj-values", "1 2"], related("oom-score-adj-values", "wrong number of arguments")),
        (&["latency-tracking-info-percentiles", "50 99.5"], ok("50 99.5")),
        (&["shutdown-on-sigint", "now save"], ok("save now")),
        (
            &["shutdown-on-sigint", "save nosave"],
            related("shutdown-on-sigint", "shutdown options SAVE and NOSAVE can't be used simultaneously"),
        ),
        (&["hz", "100000"], ok("500")),
        (&["maxclients", "0"], related("maxclients", "argument must be between 1 and 4294967295 inclusive")),
        (&["slowlog-max-len", "-1"], related("slowlog-max-len", "argument must be between 0 and 9223372036854775807 inclusive")),
        (
            &["repl-backlog-size", "0"],
            related("repl-backlog-size", "argument must be between 1 and 9223372036854775807 inclusive"),
        ),
        (&["port", ""], related("port", "argument couldn't be parsed into an integer")),
        (&["bind", ""], ok("")),
    ] {
        let config = Config::default();
        let set = config.prepare_set(words, true).map(|change| change.config.text(words[0]).to_string());
        assert_eq!(set, expected, "{words:?}");
    }
}

#[test]
fn config_set_changes_all_or_nothing_and_tells_what_changed() {
    let config = Config::default();
    let change = config.prepare_set(&["hz", "10", "maxmemory", "1gb", "lua-time-limit", "7"], false).expect("valid");
    assert_eq!(change.changed, ["maxmemory", "busy-reply-threshold"]);
    assert!(config.prepare_set(&["maxmemory", "1gb", "hz", "x"], false).is_err());
    assert_eq!(config.text("maxmemory"), "0");
    let local_only = load("enable-protected-configs local").expect("loads");
    assert!(local_only.prepare_set(&["dir", "/tmp"], true).is_ok());
    assert!(local_only.prepare_set(&["dir", "/tmp"], false).is_err());
}

#[test]
fn rewrite_keeps_what_stands_and_appends_what_is_new() {
    let dir = TempDir::new("rewrite");
    let before =
        "# my server\nport   6379\n\nslave-priority 100\nsave 900 1\nsave 300 10\nmaxmemory 1048576kb\nuser a on\nhz 10\n# end\n";
    let path = dir.file("redis.conf", before);
    let config = args(&[path.to_str().expect("text")]).expect("loads");
    config.rewrite().expect("rewritten");
    assert_eq!(fs::read_to_string(&path).expect("read"), before, "nothing changed, not a byte");

    let set = [
        "save",
        "60 5",
        "hz",
        "20",
        "replica-priority",
        "7",
        "requirepass",
        "a b",
        "client-output-buffer-limit",
        "pubsub 1mb 1 1",
    ];
    let config = config.prepare_set(&set, false).expect("valid").config;
    config.rewrite().expect("rewritten");
    let after = "# my server\nport   6379\n\nreplica-priority 7\nsave 60 5\nmaxmemory 1048576kb\nuser a on\nhz 20\n# end\n\
        # Generated by CONFIG REWRITE\nclient-output-buffer-limit normal 0 0 0\nclient-output-buffer-limit replica 256mb 64mb 60\n\
        client-output-buffer-limit pubsub 1mb 1 1\nrequirepass \"a b\"\n";
    assert_eq!(fs::read_to_string(&path).expect("read"), after);
    let again = args(&[path.to_str().expect("text")]).expect("loads");
    assert_eq!(again.texts, config.texts, "what was written is what is read");
    assert_eq!(fs::read_dir(&dir.0).expect("list").count(), 1, "no temporary file is left");
    assert_eq!(Config::default().rewrite(), Err("ERR The server is running without a config file".into()));
}

#[test]
fn every_directive_survives_a_rewrite_when_changed() {
    let dir = TempDir::new("rewrite-all");
    let path = dir.file("redis.conf", "");
    let mut config = args(&[path.to_str().expect("text")]).expect("loads");
    let texts = [
        "yes",
        "no",
        "1",
        "17",
        "always",
        "some \"text\" \u{e9}",
        "name",
        "KEA",
        "1 2",
        "1 2 3",
        "50%",
        "9 8 7 6",
        "normal 9 8 7",
    ];
    for (index, directive) in DIRECTIVES.iter().enumerate() {
        let words = |text: &'static str| if directive.kind.takes_words() { text.split(' ').collect() } else { vec![text] };
        let before = &config.texts[index];
        let parsed = texts.iter().filter_map(|text| directive.kind.parse(&words(text), before).ok()).find(|text| text != before);
        if let Some(text) = parsed {
            config.texts[index] = text;
        }
    }
    config.rewrite().expect("rewritten");
    let again = args(&[path.to_str().expect("text")]).expect("loads");
    for (index, directive) in
        DIRECTIVES.iter().enumerate().filter(|(_, directive)| !matches!(directive.kind, kind::Kind::Lines { .. }))
    {
        assert_eq!(again.texts[index], config.texts[index], "{}", directive.name);
    }
}

#[test]
fn values_of_several_words_hold_no_blanks_that_a_rewritten_file_would_lose() {
    assert_eq!(load("bind \"a  b\" \"\" c").expect("loads").text("bind"), "a b c");
    let change = Config::default().prepare_set(&["bind", " a "], true).expect("it may change");
    assert_eq!(change.config.text("bind"), "a");
    assert!(load("replicaof \"a b\" 1").is_err() && load("replicaof \"\" 1").is_err());
}

#[test]
fn only_the_default_directory_is_made() {
    let dir = TempDir::new("dir");
    let missing = dir.0.join("missing");
    assert!(load(&format!("dir {}", missing.display())).expect("loads").open_dir().is_err());
    assert!(!missing.exists());
    assert_eq!(load(&format!("dir {}", dir.0.display())).expect("loads").open_dir().expect("there"), dir.0);
}

#[test]
fn names_are_unique() {
    let mut seen = std::collections::HashSet::new();
    for directive in DIRECTIVES {
        for name in std::iter::once(&directive.name).chain(directive.aliases) {
            assert!(seen.insert(*name), "{name} stands twice");
        }
    }
}
