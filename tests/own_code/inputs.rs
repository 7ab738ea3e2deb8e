//! What a program reads: what it declared, as it was hashed, and nothing else.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{PermissionsExt, symlink};

use flow_tests::store;

use super::new;

/// A script that takes its neighbour in, in four languages.
pub fn an_undeclared_neighbour_is_not_there() {
    for (name, script, neighbour, run) in [
        ("a.py", "import helper", "helper.py", "python3 a.py"),
        ("a.py", "import helper", "helper.py", "python3 -m a"),
        (
            "pkg/a.py",
            "import pkg.helper",
            "pkg/helper.py",
            "python3 -m pkg.a",
        ),
        ("a.sh", ". ./helper.sh", "helper.sh", "bash a.sh"),
    ] {
        let workflow = format!(
            "[stages.s]\nrun = \"{run} > out\"\ninputs = {{ code = {{ path = \"{name}\" }} }}\noutputs = {{ out = \"out\" }}\n"
        );
        let test = new()
            .workflow(&workflow)
            .file(name, script)
            .file(neighbour, "")
            .run("")
            .anyhow()
            .check();
        let (failure, _) = test.last().stages["s"].failure.clone().unwrap();
        let declares = format!("path = \"{neighbour}\"");
        assert!(failure.contains(&declares), "{run}: {failure}");
    }
}

pub fn python_writes_its_caches_where_nobody_reads_them_and_code_may_be_edited_meanwhile() {
    let test = new()
        .workflow(
            r#"
[stages.train]
run = "touch ~/began; while ! [ -e ~/go ]; do sleep 0.05; done; python3 -m src.train > ${outputs.model}"
inputs = { src = { path = "src" } }
outputs = { model = "model.txt" }
"#,
        )
        .file("src/train.py", "from . import helper\nprint(helper.x)\n")
        .file("src/helper.py", "x = 1\n")
        .file("src/__pycache__/left.pyc", "left by a tool");
    let mut running = test.run("").ran("train").start();
    running.wait_for_path("../began");
    fs::write(running.path("src/helper.py"), "x = 2\n").unwrap();
    fs::write(running.path("../go"), "").unwrap();
    let test = running.finish();
    assert_eq!(test.output("train", "model"), b"1\n");
    assert!(!test.has("src/__pycache__/train.cpython-311.pyc"));
    let test = test
        .file("src/__pycache__/other.pyc", "left by another")
        .run("")
        .ran("train")
        .check();
    assert_eq!(test.output("train", "model"), b"2\n");
    test.run("").cached("train").check();
}

/// As root; anyone else is refused by the file's mode.
pub fn nothing_is_written_through_to_another_input() {
    let workflow = r#"
[stages.a]
run = "head -c 2000000 /dev/zero | tr '\\0' A > ${outputs.o}"
outputs = { o = "o" }

[stages.b]
run = "head -c 2000000 /dev/zero | tr '\\0' B > ${outputs.o}"
outputs = { o = "o" }

[stages.folder]
run = "mkdir f; head -c 2000000 /dev/zero | tr '\\0' C > f/c; echo > f/other"
outputs = { f = "f/" }

[stages.bad]
run = "cp -p ${inputs.a} ${inputs.b}; touch ${outputs.o}"
inputs = { a = "a", b = "b" }
outputs = { o = "o" }

[stages.worse]
run = "cp -p ${inputs.a} c; touch ${outputs.o}"
inputs = { a = "a", f = { from = "folder", as = "." } }
outputs = { o = "o" }

[stages.later]
run = "head -c 4 ${inputs.b} > ${outputs.o}; head -c 4 ${inputs.f}/c >> ${outputs.o}"
inputs = { b = "b", f = "folder" }
outputs = { o = "o" }
"#;
    let test = new()
        .workflow(workflow)
        .run("--keep-going --jobs 1")
        .anyhow()
        .check();
    for stage in ["bad", "worse"] {
        assert_eq!(test.last().stages[stage].status, "failed", "{stage}");
    }
    let test = test.run("--until later").anyhow().check();
    assert_eq!(test.output("later", "o"), b"BBBBCCCC");
    store::assert_sound(&test.path(".flow"));
}

pub fn execute_bits_are_kept_and_empty_files_are_files() {
    let test = new()
        .workflow(
            r#"
[stages.make]
run = "printf '#!/bin/sh\\necho hello\\n' > tool; chmod +x tool"
outputs = { tool = "tool" }

[stages.use]
run = ["sh", "-c", "$0 > out; $1 >> out; test -f pkg/__init__.py; stat -c %F pkg/__init__.py >> out", "${inputs.tool}", "./own.sh"]
inputs = { tool = "make", own = { path = "own.sh" }, pkg = { path = "pkg" } }
outputs = { out = "out" }
"#,
        )
        .executable("own.sh", "#!/bin/sh\necho own\n")
        .file("pkg/__init__.py", "")
        .run("")
        .ran("make use")
        .check();
    assert_eq!(
        String::from_utf8(test.output("use", "out")).unwrap(),
        "hello\nown\nregular empty file\n"
    );
    // Content alone is not what the file is.
    let own = test.path("own.sh");
    fs::set_permissions(&own, fs::Permissions::from_mode(0o644)).unwrap();
    test.run("").anyhow().check();
}

pub fn links_among_the_inputs_are_content_or_an_error_that_names_them() {
    let test = new()
        .workflow(
            r#"
[stages.s]
run = "cat data/inside data/beside > ${outputs.o}; find data -type l >> ${outputs.o}"
inputs = { data = { path = "data" } }
outputs = { o = "o" }
"#,
        )
        .file("data/real", "real\n")
        .file("other/y", "y\n")
        .file("../stranger", "secret\n");
    symlink("real", test.path("data/inside")).unwrap();
    symlink("../other/y", test.path("data/beside")).unwrap();
    let test = test.run("").ran("s").check();
    assert_eq!(test.output("s", "o"), b"real\ny\n");
    for target in ["../../stranger", "nowhere", "../other"] {
        let link = test.path("data/link");
        symlink(target, &link).unwrap();
        let test = test.beside().flow("check flow.toml").anyhow().check();
        let told = format!("{}{}", test.last().stdout, test.last().stderr);
        assert!(told.contains("data/link"), "{target}: {told}");
        fs::remove_file(link).unwrap();
    }
}

pub fn all_files_have_one_time() {
    let test = new()
        .workflow(
            r#"
[stages.s]
run = "find . -type f ! -path './.work/*' -printf '%P %TY-%Tm-%Td\\n' | sort > ${outputs.o}"
inputs = { data = { path = "data" } }
files = { "a.txt" = "a" }
outputs = { o = "o" }
"#,
        )
        .file("data/x/y", "y")
        .run("")
        .ran("s")
        .check();
    let text = String::from_utf8(test.output("s", "o")).unwrap();
    let told: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("o "))
        .collect();
    assert_eq!(told, ["a.txt 2000-01-01", "data/x/y 2000-01-01"]);
}

/// Checkouts at two paths, and one store.
pub fn two_checkouts_share_a_store() {
    let checkout = |store: &str| {
        let test = new()
            .workflow(
                r#"
[stages.tool]
run = "python3 -m src.tool ${inputs.data.absolute} > ${outputs.o}"
inputs = { src = { path = ["src", "settings.ini"] }, data = { path = "data" } }
files = { "a.json" = { b = 1 } }
outputs = { o = "o" }

[stages.next]
run = "cat ${inputs.o} run.sh > ${outputs.o}"
inputs = { o = "tool", code = { path = "run.sh" } }
outputs = { o = "o" }
"#,
            )
            .file(
                "src/tool.py",
                "import sys\nprint(open(sys.argv[1] + '/x').read())\n",
            )
            .file("settings.ini", "[a]\n")
            .file("data/x", "x")
            .executable("run.sh", "exit 0\n");
        let store = match store {
            "" => test.path("../store").display().to_string(),
            store => store.into(),
        };
        (test, store)
    };
    let (first, store) = checkout("");
    let first = first.run("--store").arg(&store).ran("tool next").check();
    let (second, _) = checkout(&store);
    second
        .run("--store")
        .arg(&store)
        .cached("tool next")
        .check();
    drop(first);
}

pub fn lists_of_files_and_what_they_leave_out() {
    let test = new()
        .workflow(
            r#"
[stages.s]
run = "find . -type f ! -path './.work/*' ! -name list ! -name out | sort | tee list | xargs cat > ${outputs.o}"
inputs = { code = { path = ["src", "more/*.txt"], exclude = ["notes"] } }
outputs = { o = "out", list = "list" }
"#,
        )
        .file("src/a", "a\n")
        .file("src/notes", "n\n")
        .file("more/b.txt", "b\n")
        .run("")
        .ran("s")
        .check();
    assert_eq!(
        String::from_utf8(test.output("s", "list")).unwrap(),
        "./more/b.txt\n./src/a\n"
    );
    let test = test.file("src/notes", "m\n").run("").cached("s").check();
    let test = test.file("more/b.txt", "c\n").run("").ran("s").check();
    test.file("more/d.txt", "d\n").run("").ran("s").check();
}

pub fn two_inputs_of_one_name_are_an_error_before_anything_runs() {
    let test = new()
        .workflow(
            r#"
[stages.first]
run = "touch ~/ran ${outputs.o}"
outputs = { o = "o" }

[stages.s]
run = "cat conf model x.csv > ${outputs.o}"
inputs = { first = "first", left = { path = "left", as = "." }, right = { path = "right", as = "." }, all = { path = "tables/*.csv", as = "." }, one = { path = "left/conf", as = "x.csv" } }
outputs = { o = "model" }
"#,
        )
        .file("left/conf", "l")
        .file("left/model", "l")
        .file("right/conf", "r")
        .file("right/other", "r")
        .file("tables/x.csv", "x");
    for command in ["check flow.toml", "run flow.toml"] {
        let test = test.beside().flow(command).status(2).anyhow().check();
        let told = &test.last().stderr;
        for piece in [
            "the input `right` and the input `left` would both lie at `conf`",
            "the input `one` and the input `all` would both lie at `x.csv`",
            "the output `o` is `model`, and the input `left` lies at `model` when the stage starts",
            "flow.toml:8",
        ] {
            assert!(told.contains(piece), "{piece}: {told}");
        }
        assert!(!test.has("../ran") && !test.has("ran"));
    }
    test.file("right/name", "")
        .edit("right = { path = \"right\", as = \".\" }, ", "")
        .edit(", one = { path = \"left/conf\", as = \"x.csv\" }", "")
        .edit("o = \"model\"", "o = \"made\"")
        .run("")
        .ran("first s")
        .check();
}

pub fn names_that_are_no_utf_8_are_an_error_that_names_them() {
    if cfg!(target_os = "macos") {
        // Its file systems have no such names.
        return;
    }
    let odd = OsString::from_vec(b"odd\xff".to_vec());
    let test = new()
        .workflow(
            r#"
[stages.s]
run = "ls data > ${outputs.o}"
inputs = { data = { path = "data" } }
outputs = { o = "o" }

[stages.some]
run = "echo ${inputs.few} > ${outputs.o}"
inputs = { few = { path = "few/*.txt" } }
outputs = { o = "o" }

[stages.out]
run = "mkdir o; touch \"o/$(printf 'odd\\xff')\""
outputs = { o = "o/" }

[stages.glob]
run = "touch \"$(printf 'odd\\xff')\""
outputs = { o = "odd*" }
"#,
        )
        .file("data/x", "")
        .file("few/x.txt", "");
    let odds = [
        test.path("data").join(odd),
        test.path("few")
            .join(OsString::from_vec(b"odd\xff.txt".to_vec())),
    ];
    for path in &odds {
        fs::write(path, "").unwrap();
    }
    let test = test.flow("check flow.toml").status(2).anyhow().check();
    let told = format!("{}{}", test.last().stdout, test.last().stderr);
    assert!(
        told.contains("data/odd") && told.contains("UTF-8"),
        "{told}"
    );
    assert!(
        told.contains(r#"`few/*.txt` matches a name that is not UTF-8: "few/odd\xFF.txt""#),
        "{told}"
    );
    for path in odds {
        fs::remove_file(path).unwrap();
    }
    let test = test.run("--keep-going").anyhow().check();
    for stage in ["out", "glob"] {
        let (failure, _) = test.last().stages[stage].failure.clone().unwrap();
        assert!(
            failure.contains("odd") && failure.contains("UTF-8"),
            "{failure}"
        );
    }
}
