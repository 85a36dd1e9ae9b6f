//! Layers, places and paths, as tables.

use std::fs;

use super::*;

mod clients;
mod forward;
mod lists;
mod local;
mod origin;

/// A configuration read from a folder of its own.
struct Case {
    dir: tempfile::TempDir,
    sources: Sources,
}

impl Case {
    /// With `file` as `sinkscope.toml` unless it is empty, and variables `A=b`.
    fn new(file: &str, env: &[&str]) -> Case {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(DEFAULT_FILE);
        if !file.is_empty() {
            fs::write(&path, file).unwrap();
        }
        let resolv_conf = dir.path().join("resolv.conf");
        fs::write(&resolv_conf, "nameserver 192.0.2.53\n").unwrap();
        let env =
            env.iter().map(|var| var.split_once('=').unwrap()).map(|(k, v)| (k.into(), v.into())).collect();
        let (dir_path, passed) = (dir.path().into(), Passed::default());
        let sources = Sources { file: None, dir: dir_path, env, flags: Vec::new(), resolv_conf, passed };
        Case { dir, sources }
    }

    /// And flags `--set key=value`.
    fn set(mut self, pairs: &[&str]) -> Case {
        for pair in pairs {
            let (key, value) = pair.split_once('=').unwrap();
            let value = FlagValue::Text(value.into());
            self.sources.flags.push(Flag { flag: "--set".into(), key: key.into(), value });
        }
        self
    }

    fn load(&self) -> Config {
        load(&self.sources).unwrap()
    }

    /// The problems, with the folder's name taken out.
    fn problems(&self) -> String {
        let problems = load(&self.sources).expect_err("it was expected to fail");
        let shown: Vec<String> = problems.iter().map(Problem::to_string).collect();
        shown.join("\n").replace(&format!("{}/", self.dir.path().display()), "")
    }
}

/// The defaults over the orders of a folder, for tests of those who read both.
pub(crate) fn of_orders(folder: &Path) -> Config {
    let value = FlagValue::Items(vec![folder.display().to_string()]);
    let mut case = Case::new("", &[]);
    case.sources.flags.push(Flag { flag: "--orders".into(), key: "orders.paths".into(), value });
    case.load()
}

#[test]
fn the_documented_file_works_as_written() {
    let text = r#"
        [listen]
        udp = ["127.0.0.1:5300"]
        tcp = ["127.0.0.1:5300"]

        [upstream]
        servers = ["udp://127.0.0.1:5999"]

        [orders]
        paths = ["orders/"]
    "#;
    let case = Case::new(text, &[]);
    let config = case.load();
    assert_eq!(config.listen.udp, ["127.0.0.1:5300".parse().unwrap()]);
    assert_eq!(config.listen.tcp, ["127.0.0.1:5300".parse().unwrap()]);
    assert_eq!(config.upstream.servers, ["udp://127.0.0.1:5999".parse().unwrap()]);
    assert_eq!(config.orders.settings.paths, [case.dir.path().join("orders/")]);
    assert!(!config.listen.by_default && !config.orders.by_default);
    assert_eq!(config.warnings, []);
}

#[test]
fn expired_answers_are_kept_unless_that_is_switched_off() {
    for (file, expected_s) in [
        ("", 86_400),
        ("[cache]\nmax_stale = 7", 7),
        ("[cache]\nserve_stale = true\nmax_stale = 604800", 604_800),
        ("[cache]\nserve_stale = false\nmax_stale = 7", 0),
    ] {
        assert_eq!(Case::new(file, &[]).load().cache.max_stale.as_secs(), expected_s, "{file}");
    }
}

#[test]
fn nothing_at_all_is_a_configuration() {
    let case = Case::new("", &[]);
    let config = case.load();
    assert_eq!(config.file, None);
    assert_eq!(config.listen.udp, ["127.0.0.1:5300".parse().unwrap(), "[::1]:5300".parse().unwrap()]);
    assert_eq!(config.listen.tcp, config.listen.udp);
    assert_eq!(config.orders.settings.paths, [case.dir.path().join("blocklists")]);
    assert!(config.listen.by_default && config.orders.by_default && config.orders.watch);
    assert_eq!(config.upstream.servers[0].addr, "192.0.2.53:53".parse().unwrap());
    assert_eq!(config.cache.size, 64 << 20);
    assert!(
        config.access.allows("10.0.0.1".parse().unwrap())
            && !config.access.allows("192.0.2.1".parse().unwrap())
            && !config.access.recurses_without_rd("127.0.0.1".parse().unwrap())
    );
    assert_eq!(config.upstream.max_per_server, 3 * (4096 + 256));
    let few = Case::new("[upstream]\nmax_in_flight = 16", &[]).load();
    assert_eq!((few.upstream.max_in_flight, few.upstream.max_per_server), (16, 3 * (16 + 256)));
}

#[test]
fn flags_beat_the_environment_beats_the_file_beats_defaults() {
    const FILE: &str = "[cache]\nmin_ttl = 1";
    for (file, env, set, expected) in [
        ("", &[][..], &[][..], 0),
        (FILE, &[], &[], 1),
        ("", &["SINKSCOPE_CACHE__MIN_TTL=2"], &[], 2),
        (FILE, &["SINKSCOPE_CACHE__MIN_TTL=2"], &[], 2),
        (FILE, &[], &["cache.min_ttl=3"], 3),
        ("", &["SINKSCOPE_CACHE__MIN_TTL=2"], &["cache.min_ttl=3"], 3),
        (FILE, &["SINKSCOPE_CACHE__MIN_TTL=2"], &["cache.min_ttl=3", "cache.min_ttl=4"], 4),
    ] {
        assert_eq!(
            Case::new(file, env).set(set).load().cache.ttl.min_s,
            expected,
            "{file:?} {env:?} {set:?}"
        );
    }
}

#[test]
fn text_becomes_what_the_key_takes() {
    for (pair, shown) in [
        ("listen.udp=127.0.0.1:1, [::1]:2,", "udp = [\"127.0.0.1:1\", \"[::1]:2\"]"),
        ("listen.udp=[\"127.0.0.1:1\"]", "udp = [\"127.0.0.1:1\"]"),
        ("listen.udp=[::1]:2", "udp = [\"[::1]:2\"]"),
        ("upstream.servers=", "servers = []"),
        ("cache.size=1048576", "size = 1048576"),
        ("cache.size=1MiB", "size = \"1MiB\""),
        ("orders.watch=false", "watch = false"),
        ("log.level=debug", "level = \"debug\""),
        ("server.version=1.2", "version = \"1.2\""),
        ("orders.protected=[{match='subtree', names=['example.com']}]", "match = \"subtree\""),
    ] {
        let (key, value) = pair.split_once('=').unwrap();
        let var = format!("SINKSCOPE_{}={value}", key.to_uppercase().replace('.', "__"));
        for case in [Case::new("", &[&var]), Case::new("", &[]).set(&[pair])] {
            let effective = case.load().effective;
            let found = effective.lines().any(|line| line.split('#').next().unwrap().trim() == shown);
            assert!(found, "{pair}: {shown} in\n{effective}");
        }
    }
}

#[test]
fn problems_name_their_place_and_what_to_do() {
    for (file, env, set, expected) in [
        (
            "[listn]\nudp = []",
            &[][..],
            &[][..],
            "sinkscope.toml:1: unknown key `listn`\n  hint: did you mean `listen`?",
        ),
        (
            "[upstream]\nserver = []",
            &[],
            &[],
            "sinkscope.toml:2: unknown key `upstream.server`\n  hint: did you mean `servers`?",
        ),
        (
            "[[orders.protected]]\nmach = 'exact'\nnames=['a']",
            &[],
            &[],
            "sinkscope.toml:2: unknown key `orders.protected[0].mach`",
        ),
        ("listen = 3", &[], &[], "sinkscope.toml:1: `listen` is not a section"),
        ("[listen\nudp = []", &[], &[], "sinkscope.toml:1: "),
        ("[cache]\nmin_ttl = 1\nmin_ttl = 2", &[], &[], "sinkscope.toml:3: duplicate key"),
        (
            "[upstream]\nstrategy = fastest # quick",
            &[],
            &[],
            "\n  hint: text stands in quotes: strategy = \"fastest\"",
        ),
        (
            "[upstream]\nservers = [9.9.9.9, tls://dns.example@192.0.2.1]",
            &[],
            &[],
            "\n  hint: text stands in quotes: servers = [\"9.9.9.9\", \"tls://dns.example@192.0.2.1\"]",
        ),
        (
            "[upstream]\ntry_timeout_ms = 5000",
            &[],
            &[],
            "sinkscope.toml:2: `upstream.try_timeout_ms` is more than `upstream.total_timeout_ms`, which is 4000\n  hint: one try has to fit",
        ),
        (
            "[upstream]\ntry_timeout_ms = 5000\ntotal_timeout_ms = 4500",
            &[],
            &[],
            "sinkscope.toml:3: `upstream.total_timeout_ms` is less than `upstream.try_timeout_ms`, which is 5000",
        ),
        (
            "[upstream]\ntotal_timeout_ms = 1000",
            &[],
            &[],
            "sinkscope.toml:2: `upstream.total_timeout_ms` is less than `upstream.try_timeout_ms`, which is 1500",
        ),
        (
            "[upstream]\nservers = [\n'9.9.9.9@853#dns.quad9.net']",
            &[],
            &[],
            "sinkscope.toml:3: `upstream.servers[0]` is \"9.9.9.9@853#dns.quad9.net\": \"9.9.9.9@853#dns.quad9.net\" has its name behind #, \
             as Unbound and systemd-resolved write it: write tls://dns.quad9.net@9.9.9.9:853",
        ),
        (
            "[listen]\nudp = '127.0.0.1:53'",
            &[],
            &[],
            "sinkscope.toml:2: `listen.udp` is the string \"127.0.0.1:53\"; expected a list of texts",
        ),
        (
            "[listen]\nudp = [\n'127.0.0.1:53',\n'localhost']",
            &[],
            &[],
            "sinkscope.toml:4: `listen.udp[1]` is \"localhost\"; expected address:port",
        ),
        ("[listen]\nudp = ['127.0.0.1']", &[], &[], "hint: add a port: \"127.0.0.1:5300\""),
        (
            "[listen]\nudp = []\ntcp = []",
            &[],
            &[],
            "sinkscope.toml:2: `listen.udp` is empty, and so is `listen.tcp`",
        ),
        (
            "[upstream]\ntry_timeout_ms = 'fast'",
            &[],
            &[],
            "sinkscope.toml:2: `upstream.try_timeout_ms` is the string \"fast\"; expected a whole number",
        ),
        (
            "[upstream]\ntry_timeout_ms = -1",
            &[],
            &[],
            "sinkscope.toml:2: `upstream.try_timeout_ms` is the integer -1; expected a whole number",
        ),
        (
            "[upstream]\ntry_timeout_ms = 1",
            &[],
            &[],
            "sinkscope.toml:2: `upstream.try_timeout_ms` is 1; expected 10 to 60000",
        ),
        (
            "[upstream]\ntotal_timeout_ms = 20",
            &[],
            &[],
            "sinkscope.toml:2: `upstream.total_timeout_ms` is less than",
        ),
        (
            "[upstream]\nservers = ['dns://192.0.2.1']",
            &[],
            &[],
            "sinkscope.toml:2: `upstream.servers[0]` is \"dns://192.0.2.1\": dns:// is no known scheme",
        ),
        (
            "[upstream]\nservers = ['tls://dns.example']",
            &[],
            &[],
            "sinkscope.toml:2: `upstream.servers[0]` is \"tls://dns.example\", and nobody is named who knows its address\n  hint: name who is to be asked for it, upstream.bootstrap = [\"9.9.9.9\"], or write",
        ),
        (
            "[upstream]\nservers = []\nbootstrap = ['9.9.9.9', 'tls://dns.example']",
            &[],
            &[],
            "sinkscope.toml:3: `upstream.bootstrap[1]` is \"tls://dns.example\", and nobody is named who knows its address\n  hint: write its address",
        ),
        (
            "[upstream]\nservers = ['tls://dns.example@dns.example']",
            &[],
            &[],
            "write tls://host@address, or tls://host alone\n  hint: write \"udp://192.0.2.1:53\"",
        ),
        (
            "[upstream]\nbootstrap = ['127.0.0.1:5300']",
            &[],
            &[],
            "`upstream.bootstrap[0]` is \"127.0.0.1:5300\", which is this server itself",
        ),
        (
            "[upstream]\nca_file = 'none.pem'",
            &[],
            &[],
            "error: none.pem: cannot be read: No such file or directory (os error 2)\n  hint: check upstream.ca_file",
        ),
        (
            "[upstream]\nca_file = 'resolv.conf'",
            &[],
            &[],
            "error: resolv.conf: there is no certificate in it\n  hint: upstream.ca_file is for certificates in PEM",
        ),
        (
            "[upstream]\nservers = ['127.0.0.1:5300']",
            &[],
            &[],
            "`upstream.servers[0]` is \"127.0.0.1:5300\", which is this server itself",
        ),
        (
            "[query_log]\nsyslog = '192.0.2.1:514'",
            &[],
            &[],
            "sinkscope.toml:2: `query_log.syslog` is \"192.0.2.1:514\", which is no place to send to\n  hint: write \"unix:/dev/log\" or \"udp://192.0.2.1:514\"",
        ),
        (
            "[query_log]\ndnstap = 'udp://192.0.2.1:514'",
            &[],
            &[],
            "`query_log.dnstap` is \"udp://192.0.2.1:514\", which is no place to send to\n  hint: write \"unix:/run/dnstap.sock\" or \"tcp://192.0.2.1:6000\"",
        ),
        (
            "[query_log]\ndnstap = 'unix:'",
            &[],
            &[],
            "`query_log.dnstap` is \"unix:\", which is no place to send to",
        ),
        (
            "[query_log]\nfile = 'a'\nmax_size = 17",
            &[],
            &[],
            "sinkscope.toml:3: `query_log.max_size` is less than 4096 octets\n  hint: write \"64MiB\", or 0 for no bound",
        ),
        (
            "[query_log]\nfile = 'a'\nmax_age = '1 year'",
            &[],
            &[],
            "`query_log.max_age` is no length of time that a file may have",
        ),
        ("[query_log]\nsample = 0", &[], &[], "`query_log.sample` is 0; expected 1 to 4294967295"),
        (
            "[query_log]\ngroups = ['default', 'kidz']\n[[clients]]\nname = 'kids'\naddresses = ['192.0.2.1']",
            &[],
            &[],
            "`query_log.groups[1]` is \"kidz\", which is no group of clients\n  hint: did you mean \"kids\"?",
        ),
        (
            "[query_log]\nbuffer = '1KiB'",
            &[],
            &[],
            "`query_log.buffer` is out of bounds\n  hint: write \"1MiB\" to \"4GiB\"",
        ),
        (
            "[query_log]\nonly = 'sinkholes'",
            &[],
            &[],
            "`query_log.only` is the string \"sinkholes\"; expected \"all\", \"sinkholed\"",
        ),
        (
            "[cache]\nsize = '64 parsecs'",
            &[],
            &[],
            "sinkscope.toml:2: `cache.size` is \"64 parsecs\"; expected a number of octets",
        ),
        (
            "[cache]\nsize = true",
            &[],
            &[],
            "sinkscope.toml:2: `cache.size` is the boolean true; expected a whole number or text",
        ),
        ("[cache]\nmax_stale = 0", &[], &[], "`cache.max_stale` is 0; expected 1 to 604800"),
        ("[cache]\nmin_ttl = 60\nmax_ttl = 30", &[], &[], "sinkscope.toml:2: `cache.min_ttl` is more than"),
        (
            "[access]\nallow = ['10.0.0.1/8']",
            &[],
            &[],
            "sinkscope.toml:2: `access.allow[0]` is \"10.0.0.1/8\", which has bits set",
        ),
        (
            "[access]\nallow_no_rd = ['loopback', 'me']",
            &[],
            &[],
            "sinkscope.toml:2: `access.allow_no_rd[1]` is \"me\", which is not an address",
        ),
        (
            "[log]\nlevel = 'loud'",
            &[],
            &[],
            "sinkscope.toml:2: `log.level` is the string \"loud\"; expected \"error\", \"warn\"",
        ),
        (
            "[control]\nlisten = 'localhost:1'",
            &[],
            &[],
            "sinkscope.toml:2: `control.listen` is \"localhost:1\", which is neither unix:PATH nor address:port",
        ),
        (
            "[control]\nlisten = '0.0.0.0:5380'",
            &[],
            &[],
            "which others than this machine reach, and there is no token\n  hint: set control.token_file",
        ),
        (
            "[special]\nforward = ['a..b']",
            &[],
            &[],
            "sinkscope.toml:2: `special.forward[0]` has the name \"a..b\"",
        ),
        (
            "[[orders.protected]]\nmatch = 'exact'",
            &[],
            &[],
            "sinkscope.toml:1: `orders.protected[0]` lists no names and no file",
        ),
        (
            "[[orders.protected]]\nmatch = 'exactly'\nnames=['a']",
            &[],
            &[],
            "sinkscope.toml:1: `orders.protected` does not fit",
        ),
        (
            "[server]\nversion = 3",
            &[],
            &[],
            "sinkscope.toml:2: `server.version` is the integer 3; expected text in quotes",
        ),
        (
            "",
            &["SINKSCOPE_LISTEN__UPD=x"],
            &[],
            "error: SINKSCOPE_LISTEN__UPD: unknown environment variable\n  hint: did you mean `SINKSCOPE_LISTEN__UDP`?",
        ),
        ("", &["SINKSCOPE_LISTEN_UDP=x"], &[], "hint: did you mean `SINKSCOPE_LISTEN__UDP`?"),
        ("", &["SINKSCOPE_LISTEN__UDP=x"], &[], "error: SINKSCOPE_LISTEN__UDP: `listen.udp[0]` is \"x\""),
        (
            "",
            &["SINKSCOPE_CACHE__MIN_TTL=soon"],
            &[],
            "error: SINKSCOPE_CACHE__MIN_TTL: `cache.min_ttl` is the string \"soon\"",
        ),
        (
            "",
            &[],
            &["listen.upd=x"],
            "error: --set: unknown key `listen.upd`\n  hint: did you mean `listen.udp`?",
        ),
        ("", &[], &["nonsense=x"], "error: --set: unknown key `nonsense`"),
        ("", &[], &["log.level=loud"], "error: --set: `log.level` is the string \"loud\""),
    ] {
        let problems = Case::new(file, env).set(set).problems();
        assert!(problems.contains(expected), "{file:?} {env:?} {set:?}: {expected}\nin: {problems}");
    }
}

#[test]
fn what_may_be_meant_is_warned_of() {
    for (file, expected) in [
        (
            "[upstream]\nservers = []",
            "warning: sinkscope.toml:2: `upstream.servers` is empty: only listed names are answered, and those of [[forward]] zones",
        ),
        (
            "[upstream]\nservers = ['9.9.9.9',\n'tls://9.9.9.9:53']",
            "warning: sinkscope.toml:3: `upstream.servers[1]` is \"tls://9.9.9.9:53\", which is asked by tls:// at port 53, which is \
             that of udp:// and tcp://\n  hint: leave the port out",
        ),
        (
            "[[forward]]\nzones = ['lan']\nservers = ['192.0.2.1:853']",
            "warning: sinkscope.toml:3: `forward[0].servers[0]` is \"192.0.2.1:853\", which is asked by udp:// at port 853",
        ),
    ] {
        let case = Case::new(file, &[]);
        let warnings: Vec<String> = case.load().warnings.iter().map(Problem::to_string).collect();
        let shown = warnings.join("\n").replace(&format!("{}/", case.dir.path().display()), "");
        assert!(warnings.len() == 1 && shown.contains(expected), "{expected}\nin\n{shown}");
    }
}

#[test]
fn all_problems_come_at_once() {
    let case =
        Case::new("[listn]\n[cache]\nsize = 'x'\n[log]\nlevel = 1", &["SINKSCOPE_A__B=c"]).set(&["x.y=z"]);
    assert_eq!(case.problems().matches("error: ").count(), 5, "{}", case.problems());
}

#[test]
fn variables_of_others_are_passed_over() {
    let env = ["SINKSCOPE_PORT=tcp://192.0.2.1:53", "SINKSCOPE_SERVICE_HOST=192.0.2.1", "OTHER__THING=1"];
    assert_eq!(Case::new("", &env).load().warnings, []);
}

#[test]
fn paths_are_relative_to_the_file_they_stand_in() {
    let dir = tempfile::tempdir().unwrap();
    let etc = dir.path().join("etc");
    fs::create_dir(&etc).unwrap();
    let file = etc.join("other.toml");
    let load_with = |text: &str, env: &[&str]| {
        fs::write(&file, text).unwrap();
        let mut case = Case::new("", env);
        case.sources.file = Some(file.clone());
        case.load()
    };
    let config =
        load_with("[orders]\npaths = ['orders/', '/abs']\n[[orders.protected]]\nfile = 'own.txt'", &[]);
    assert_eq!(config.orders.settings.paths, [etc.join("orders/"), PathBuf::from("/abs")]);
    assert_eq!(config.orders.settings.protected[0].file, Some(etc.join("own.txt")));
    assert_eq!(config.orders.settings.protected[0].source, format!("{}:3", file.display()));
    assert_eq!(load_with("[cache]", &[]).orders.settings.paths, [etc.join("blocklists")]);
    let config = load_with("[cache]", &["SINKSCOPE_ORDERS__PATHS=here,there"]);
    assert_eq!(config.orders.settings.paths, [PathBuf::from("here"), PathBuf::from("there")]);
}

#[test]
fn the_control_api_is_beside_the_state_unless_somebody_says_where() {
    for (file, set, expected) in [
        ("", &[][..], "none"),
        ("[orders]\nstate = 'state'", &[], "unix:DIR/state/control.sock"),
        ("", &["orders.state=/var/lib/sinkscope"], "unix:/var/lib/sinkscope/control.sock"),
        ("[orders]\nstate = 'state'\n[control]\nlisten = 'none'", &[], "none"),
        ("[control]\nlisten = 'unix:run/c.sock'", &[], "unix:DIR/run/c.sock"),
        ("[control]\nlisten = '127.0.0.1:5380'", &[], "127.0.0.1:5380"),
        ("[control]\nlisten = '127.0.0.1:5380'", &["control.listen=[::1]:1"], "[::1]:1"),
        ("[control]\nlisten = '192.0.2.1:5380'\ntoken_file = 'tokens'", &[], "192.0.2.1:5380"),
    ] {
        let case = Case::new(file, &[]).set(set);
        let control = case.load().control;
        let shown = control.listen.map_or("none".into(), |address| address.to_string());
        assert_eq!(
            shown.replace(&case.dir.path().display().to_string(), "DIR"),
            expected,
            "{file:?} {set:?}"
        );
        assert_eq!(control.by_default, !file.contains("[control]"), "{file:?}");
        let tokens = file.contains("token_file").then(|| case.dir.path().join("tokens"));
        assert_eq!(control.token_file, tokens, "{file:?}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let mut case = Case::new("", &[]);
    case.sources.file = Some(case.dir.path().join("gone.toml"));
    assert!(case.problems().starts_with("error: gone.toml: cannot be read: "), "{}", case.problems());
}

#[test]
fn a_missing_resolv_conf_is_a_warning() {
    let mut case = Case::new("", &[]);
    case.sources.resolv_conf = case.dir.path().join("gone.conf");
    let config = case.load();
    assert_eq!(config.upstream.servers, []);
    let said: Vec<&str> = config.warnings.iter().map(|warning| &warning.message[..]).collect();
    assert!(said.len() == 2 && said[0].starts_with("cannot be read: "), "{said:?}");
    assert!(said[1].starts_with("`upstream.servers` is empty"), "{said:?}");
}

#[test]
fn the_effective_configuration_is_a_configuration() {
    let file = "[listen]\nudp = ['127.0.0.1:1']\n[server]\nid = 'x'\n[orders]\npaths = ['a']\n\
                [[orders.protected]]\nmatch = 'subtree'\nnames = ['example.com']";
    let case = Case::new(file, &["SINKSCOPE_CACHE__SIZE=1MiB"]).set(&["log.level=warn"]);
    let first = case.load();
    for expected in ["# SINKSCOPE_CACHE__SIZE", "# --set", "# default", "sinkscope.toml:2", "resolv.conf"] {
        assert!(first.effective.contains(expected), "{expected} in\n{}", first.effective);
    }
    let mut again = Case::new(&first.effective, &[]);
    again.sources.dir = again.dir.path().into();
    let second = again.load();
    let without_comments = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split(" #").next().unwrap_or_default().trim().to_string()).collect()
    };
    assert_eq!(without_comments(&first.effective), without_comments(&second.effective));
    assert_eq!(first.listen.udp, second.listen.udp);
    assert_eq!(first.upstream.servers, second.upstream.servers);
}

#[test]
fn a_host_alone_is_looked_up_through_bootstrap() {
    let upstream = |bootstrap: &str| {
        let text = format!(
            "[upstream]\nservers = ['tls://dns.example', 'https://192.0.2.1', 'tls://dns.example:853']\nbootstrap = {bootstrap}"
        );
        Case::new(&text, &[]).load().upstream
    };
    let first = upstream("['9.9.9.9', 'tls://dns.other@9.9.9.10']");
    let [looked_up, given] = &first.servers[..] else { panic!("{:?}", first.servers) };
    let bootstrap: Vec<String> = looked_up.bootstrap.iter().map(ToString::to_string).collect();
    assert_eq!(bootstrap, ["udp://9.9.9.9:53", "tls://dns.other@9.9.9.10:853"]);
    assert_eq!((looked_up.to_string().as_str(), given.bootstrap.len()), ("tls://dns.example:853", 0));
    // With another one it is another server: what the first one was told of its address is not taken over.
    let second = upstream("['9.9.9.9']");
    assert_ne!(first.servers[0], second.servers[0]);
    assert_eq!(first.servers[1], second.servers[1]);
}

#[test]
fn every_key_has_a_description_and_serde_knows_it() {
    let schema = schema();
    let sections = crate::keys::known_at(&schema, &[]);
    assert_eq!(sections.len(), 22);
    for section in sections {
        let place = &schema["properties"][&section];
        // `[[clients]]` is a list of what others are.
        let place = place.get("items").unwrap_or(place);
        let name = place["$ref"].as_str().unwrap().trim_start_matches('#').to_string();
        let keys = schema.pointer(&name).unwrap()["properties"].as_object().unwrap();
        assert!(!keys.is_empty(), "{section}");
        for (key, leaf) in keys {
            assert!(leaf["description"].as_str().is_some_and(|text| !text.is_empty()), "{section}.{key}");
        }
    }
}

#[test]
fn the_example_file_says_what_the_defaults_are() {
    let plain = |config: Config| -> Vec<String> {
        let lines = config
            .effective
            .lines()
            .map(|line| line.split(" #").next().unwrap_or_default().trim().to_string());
        lines.filter(|line| !line.starts_with("paths = ")).collect()
    };
    let example = Case::new(include_str!("../../sinkscope.example.toml"), &[]).load();
    assert_eq!(plain(example), plain(Case::new("", &[]).load()));
}

#[test]
fn the_example_of_encrypted_upstreams_is_sound() {
    let upstream = Case::new(include_str!("../../examples/encrypted-upstreams.toml"), &[]).load().upstream;
    let shown: Vec<String> = upstream.servers.iter().map(|server| format!("{server:#}")).collect();
    let expected = [
        "tls://dns.example@192.0.2.1:853",
        "tls://192.0.2.1:853",
        "https://dns.example@192.0.2.1:443/dns-query",
        "https://dns.example@[2001:db8::1]:8443/dns-query{?dns}",
        "https://dns.example:443/dns-query",
        "quic://dns.example@192.0.2.1:853",
        "h3://dns.example@192.0.2.1:443/dns-query",
        "tls://dns.example@192.0.2.2:853",
        "https://dns.example.com:443/dns-query",
    ];
    assert_eq!(shown, expected);
    for server in &upstream.servers {
        assert!(server.is_encrypted(), "{server}");
        assert_eq!(server.bootstrap.len(), if server.host().is_some() { 2 } else { 0 }, "{server}");
    }
}
