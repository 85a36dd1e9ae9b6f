//! What containers are made of and run by, held against the program: the image's files and settings, compose.yaml and Kubernetes'
//! manifests. Docker itself is left to `checks/container`.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value, json};
use support::process::{Folder, command, has_tool, run};

/// A program that is static and needs no library to be so.
const STATIC: &str = "void _start(void) { for (;;) {} }\n";
/// The exit code for a command line or a configuration that is wrong.
const USAGE: i32 = 2;

/// A file of the project.
fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Its text.
fn text(path: &str) -> String {
    fs::read_to_string(project(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Lines of a Dockerfile with those that go on put together, without comments.
fn instructions(dockerfile: &str) -> Vec<String> {
    let lines = dockerfile.lines().filter(|line| !line.trim_start().starts_with('#'));
    let whole = lines.collect::<Vec<_>>().join("\n").replace("\\\n", " ");
    let one = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    whole.lines().map(one).filter(|line| !line.is_empty()).collect()
}

/// What an instruction of the image says, which stands there once.
fn instruction(name: &str) -> String {
    let all = instructions(&text("contrib/docker/Dockerfile"));
    let found: Vec<&String> = all.iter().filter(|line| line.starts_with(&format!("{name} "))).collect();
    assert_eq!(found.len(), 1, "{name}: {found:?}");
    found[0][name.len() + 1..].to_owned()
}

/// The image's settings.
fn environment() -> Vec<(String, String)> {
    let pair = |pair: &str| pair.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    instruction("ENV").split(' ').map(|text| pair(text).expect("a variable and its value")).collect()
}

/// Files and folders below a folder: what mode each has and what is in it.
fn tree(folder: &Path) -> BTreeMap<PathBuf, (u32, Option<Vec<u8>>)> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).expect("a folder") {
            let path = entry.expect("an entry").path();
            let metadata = path.symlink_metadata().expect("a file");
            let content = metadata.is_file().then(|| fs::read(&path).expect("a file"));
            let mode = metadata.permissions().mode() & 0o7777;
            found.insert(path.strip_prefix(folder).expect("below").to_owned(), (mode, content));
            if metadata.is_dir() {
                folders.push(path);
            }
        }
    }
    found
}

#[test]
fn both_ways_to_build_give_the_same_files_and_settings() {
    if !(has_tool("cc", "gcc") && has_tool("objcopy", "binutils")) {
        return;
    }
    let folder = Folder::new(&[("a.c", STATIC)]);
    let done = |command: &mut Command| {
        let output =
            command.current_dir(folder.path()).env("SOURCE_DATE_EPOCH", "1").output().expect("it runs");
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    done(Command::new("cc").args(["-static", "-nostdlib", "-g", "-o", "sinkscope", "a.c"]));
    // As the Dockerfile's first stage does, and as is done where nothing can be pulled.
    done(Command::new(project("contrib/docker/tree")).args(["sinkscope", "pulled"]));
    done(Command::new(project("contrib/docker/build")).arg("sinkscope").env("SINKSCOPE_CONTEXT", "context"));
    let (mut pulled, built) = (tree(&folder.file("pulled")), tree(&folder.file("context/image")));
    assert!(pulled.remove(Path::new("sinkscope.debug")).is_some(), "what debuggers need is kept aside");
    assert!(pulled == built, "{:?}\n{:?}", pulled.keys(), built.keys());
    let names: Vec<&str> = built.keys().filter_map(|path| path.to_str()).collect();
    assert!(names.contains(&"root/usr/local/bin/sinkscope") && names.contains(&"state"), "{names:?}");
    let programs = built.iter().filter(|(_, (mode, content))| content.is_some() && mode & 0o111 != 0);
    assert_eq!(programs.count(), 1, "no program but ours");
    assert!(folder.file("sinkscope.debug").is_file());

    let of_ours = instructions(&text("contrib/docker/Dockerfile"));
    let last = of_ours.iter().position(|line| line == "FROM scratch").expect("a last stage from nothing");
    assert!(
        of_ours[..last].iter().any(|line| line.contains("contrib/docker/tree") && line.ends_with("/image"))
    );
    let from_stage = |line: &String| line.replace("--from=build ", "").replace("/image/", "image/");
    let expected: Vec<String> = of_ours[last..].iter().map(from_stage).collect();
    let context = fs::read_to_string(folder.file("context/Dockerfile")).expect("a Dockerfile");
    assert_eq!(instructions(&context), expected);
    let copied: Vec<&String> = of_ours[last..].iter().filter(|line| line.starts_with("COPY ")).collect();
    assert!(copied.len() == 2 && copied.iter().all(|line| line.contains("--from=build")), "{copied:?}");
}

#[test]
fn the_image_is_set_as_the_program_knows_it() {
    let folder = Folder::new(&[("blocklists/none.txt", "")]);
    let variables = environment();
    let mut config = command(folder.path());
    config.arg("config").envs(variables.clone());
    let output = config.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for (key, _) in &variables {
        assert!(said.contains(&format!("# {key}")), "{key} sets nothing:\n{said}");
    }
    let of = |key: &str| &variables.iter().find(|(name, _)| name == key).expect(key).1;
    assert_eq!(&instruction("VOLUME"), of("SINKSCOPE_ORDERS__STATE"));
    for (key, transport) in [("SINKSCOPE_LISTEN__UDP", "udp"), ("SINKSCOPE_LISTEN__TCP", "tcp")] {
        for addr in of(key).split(',') {
            let port = addr.rsplit_once(':').expect("a port").1;
            assert!(
                instruction("EXPOSE").split(' ').any(|word| word == format!("{port}/{transport}")),
                "{addr}"
            );
        }
    }
    let (user, group) = instruction("USER")
        .split_once(':')
        .map(|(user, group)| (user.parse(), group.parse()))
        .expect("a group");
    assert!(matches!((user, group), (Ok(1u32..), Ok(1u32..))), "a number that is not root's");
    let health = instruction("HEALTHCHECK").split_once("CMD ").expect("a command").1.to_owned();
    let health: Vec<String> = serde_json::from_str(&health).expect("a list: there is no shell");
    is_known(&health);
}

/// A command of a container is one of ours, and its arguments are understood.
fn is_known(command: &[String]) {
    assert_eq!(command[0], "/usr/local/bin/sinkscope", "{command:?}");
    // Nobody serves: that is another end than that of a wrong command line.
    let folder = Folder::new(&[]);
    let mut args = command[1..].to_vec();
    args.extend(["--timeout".into(), "1".into()]);
    let ended = run(&folder, &args);
    assert_ne!(ended.code, Some(USAGE), "{command:?}: {}", ended.err);
}

/// Documents of a file, as JSON has them.
fn documents(path: &str) -> Vec<Value> {
    let text = text(path);
    let documents = Yaml::load_from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
    documents.iter().map(value).collect()
}

/// A node as JSON has it; what `<<` merges stands where it is not said otherwise.
fn value(node: &Yaml<'_>) -> Value {
    match node {
        Yaml::Value(Scalar::Boolean(value)) => json!(value),
        Yaml::Value(Scalar::Integer(value)) => json!(value),
        Yaml::Value(Scalar::String(value)) => json!(value),
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Sequence(items) => items.iter().map(value).collect(),
        Yaml::Mapping(pairs) => {
            let mut found = Map::new();
            for (key, node) in pairs {
                let (key, value) = (value(key), value(node));
                match (key.as_str().expect("a name"), value) {
                    ("<<", Value::Object(merged)) => {
                        for (key, value) in merged {
                            found.entry(key).or_insert(value);
                        }
                    }
                    (key, value) => drop(found.insert(key.to_owned(), value)),
                }
            }
            Value::Object(found)
        }
        other => panic!("neither a value, a list nor a table: {other:?}"),
    }
}

/// Every table in a document, from the outside in.
fn tables(document: &Value) -> Vec<&Map<String, Value>> {
    let (mut found, mut next) = (Vec::new(), vec![document]);
    while let Some(node) = next.pop() {
        match node {
            Value::Object(table) => {
                found.push(table);
                next.extend(table.values());
            }
            Value::Array(items) => next.extend(items),
            _ => {}
        }
    }
    found
}

/// A list of texts.
fn texts(value: &Value) -> Vec<String> {
    let items = value.as_array().unwrap_or_else(|| panic!("no list: {value}"));
    items.iter().map(|item| item.as_str().unwrap_or_else(|| panic!("no text: {item}")).to_owned()).collect()
}

/// The program understands a configuration with these variables and, if one is given, this file.
fn is_understood(what: &str, variables: &[(String, String)], file: Option<&str>) {
    let folder = Folder::new(&[("blocklists/none.txt", "")]);
    let mut config = command(folder.path());
    config.arg("config").envs(variables.iter().cloned());
    if let Some(file) = file {
        folder.write("sinkscope.toml", file);
    }
    let output = config.output().expect("it runs");
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn compose_names_what_there_is() {
    let documents = documents("contrib/docker/compose.yaml");
    let services = documents[0]["services"].as_object().expect("services");
    let volume = instruction("VOLUME");
    let mut ours = 0;
    for (name, service) in services {
        let mode = service["network_mode"].as_str();
        if let Some(other) = mode.and_then(|mode| mode.strip_prefix("service:")) {
            assert!(services.contains_key(other), "{name} shares the network of {other}");
            assert_eq!(services[other]["profiles"], service["profiles"], "{name} and {other} run together");
            assert_eq!(service["depends_on"][other]["condition"], "service_healthy", "{name}");
            continue;
        }
        ours += 1;
        let variables = service["environment"].as_object().expect("an environment");
        // What stands between braces is said by whoever runs it, or what is behind `:-`.
        let variable = |(key, value): (&String, &Value)| {
            let text = value.as_str().expect("a text");
            let default = text.strip_prefix("${").and_then(|text| text.strip_suffix('}')?.split_once(":-"));
            (key.clone(), default.map_or(text, |(_, default)| default).to_owned())
        };
        let mut set = environment();
        set.extend(variables.iter().map(variable));
        is_understood(name, &set, None);
        assert!(
            texts(&service["volumes"]).iter().any(|mount| mount.ends_with(&format!(":{volume}"))),
            "{name}"
        );
        assert_eq!((&service["read_only"], &service["cap_drop"][0]), (&json!(true), &json!("ALL")), "{name}");
        if let Some(addresses) = service.get("dns") {
            let listens = variables["SINKSCOPE_LISTEN__UDP"].as_str().expect("an address");
            assert_eq!(format!("{}:53", texts(addresses)[0]), listens, "{name}");
        }
        for port in service.get("ports").map(texts).unwrap_or_default() {
            let inside = port.split_once(':').expect("two ports").1;
            assert!(instruction("EXPOSE").split(' ').any(|exposed| exposed == inside), "{name}: {port}");
        }
    }
    assert!(ours >= 4, "{ours}");
}

#[test]
fn manifests_of_kubernetes_name_what_there_is() {
    let entry: Vec<String> = serde_json::from_str(&instruction("ENTRYPOINT")).expect("a list");
    for path in ["contrib/kubernetes/sidecar.yaml", "contrib/kubernetes/resolver.yaml"] {
        let documents = documents(path);
        let maps: BTreeMap<&str, &Map<String, Value>> = documents
            .iter()
            .filter(|document| document["kind"] == "ConfigMap")
            .map(|map| {
                (map["metadata"]["name"].as_str().expect("a name"), map["data"].as_object().expect("files"))
            })
            .collect();
        for (file, content) in maps.values().copied().flatten() {
            let content = content.as_str().expect("a text");
            if file == "sinkscope.toml" {
                is_understood(&format!("{path}: {file}"), &environment(), Some(content));
            } else {
                let folder = Folder::new(&[(&format!("orders/{file}"), content)]);
                let checked = run(&folder, &["check", "orders"]);
                assert_eq!(checked.code, Some(0), "{path}: {file}: {}{}", checked.out, checked.err);
            }
        }
        let pod = documents
            .iter()
            .find(|document| document["kind"] != "ConfigMap" && document["kind"] != "Service");
        let pod = pod.expect("a pod or what makes some");
        let spec = if pod["kind"] == "Pod" { &pod["spec"] } else { &pod["spec"]["template"]["spec"] };
        let sysctl = &spec["securityContext"]["sysctls"][0];
        assert_eq!(
            (&sysctl["name"], &sysctl["value"]),
            (&json!("net.ipv4.ip_unprivileged_port_start"), &json!("0")),
            "{path}"
        );
        let (mut containers, mut probes) = (0, 0);
        for container in
            tables(spec).into_iter().filter(|table| table.get("image") == Some(&json!("sinkscope")))
        {
            containers += 1;
            let args = texts(&container["args"]);
            assert_eq!(args[..2], ["serve", "--config"], "{path}");
            let mounts = container["volumeMounts"].as_array().expect("mounts");
            let mounted = |at: &str| mounts.iter().any(|mount| mount["mountPath"] == at);
            let folder = Path::new(&args[2]).parent().and_then(Path::to_str).expect("a folder");
            assert!(
                mounted(folder) && mounted("/etc/sinkscope/orders") && mounted(&instruction("VOLUME")),
                "{path}"
            );
            assert!(
                maps.values()
                    .flat_map(|map| map.values())
                    .any(|file| file.to_string().contains("/etc/sinkscope/orders"))
            );
            for mount in mounts {
                let volumes = spec["volumes"].as_array().expect("volumes");
                let volume = volumes
                    .iter()
                    .find(|volume| volume["name"] == mount["name"])
                    .expect("a volume for each mount");
                let map = volume["configMap"]["name"].as_str();
                assert!(map.is_none_or(|map| maps.contains_key(map)), "{path}: {map:?}");
            }
            let set = container.get("env").and_then(Value::as_array).into_iter().flatten();
            let text = |value: &Value| value.as_str().expect("a text").to_owned();
            let set: Vec<(String, String)> =
                set.map(|one| (text(&one["name"]), text(&one["value"]))).collect();
            is_understood(path, &set, None);
            for probe in container.iter().filter(|(key, _)| key.ends_with("Probe")).map(|(_, probe)| probe) {
                probes += 1;
                let command = texts(&probe["exec"]["command"]);
                assert_eq!(command[0], entry[0], "{path}");
                is_known(&command);
                // `health` gives up by itself after five seconds and says why.
                assert!(probe["timeoutSeconds"].as_i64() > Some(5), "{path}: {probe}");
            }
            let closed = &container["securityContext"];
            assert_eq!(
                (&closed["readOnlyRootFilesystem"], &closed["capabilities"]["drop"][0]),
                (&json!(true), &json!("ALL"))
            );
        }
        assert!(containers == 1 && probes >= 2, "{path}: {containers} {probes}");
        if let Some(service) = documents.iter().find(|document| document["kind"] == "Service") {
            for port in service["spec"]["ports"].as_array().expect("ports") {
                let named = |one: &&Map<String, Value>| {
                    one.get("name") == Some(&port["targetPort"]) && one.contains_key("containerPort")
                };
                let tables = tables(spec);
                let target = tables.iter().find(|one| named(one)).expect("a port of that name");
                assert_eq!(
                    (&target["protocol"], &target["containerPort"]),
                    (&port["protocol"], &json!(53)),
                    "{path}"
                );
            }
            let (label, wanted) =
                (&pod["spec"]["template"]["metadata"]["labels"], &service["spec"]["selector"]);
            assert_eq!((label, wanted), (&pod["spec"]["selector"]["matchLabels"], label), "{path}");
        } else {
            assert_eq!(
                (&spec["dnsPolicy"], &spec["dnsConfig"]["nameservers"][0]),
                (&json!("None"), &json!("127.0.0.1")),
                "{path}"
            );
        }
    }
}
