//! Plugins in Python: what ran is what was hashed.

use std::fs;
use std::path::Path;
use std::process::Command;

use flow_tests::Test;

/// A plugin whose one kind writes what the expression is.
fn plugin(head: &str, expression: &str) -> String {
    format!(
        "#!/usr/bin/env python3\n{head}\nimport flow_stage\n\
         plugin = flow_stage.Plugin('flow-stages-mine', '1')\n\
         @plugin.stage(outputs={{'out': ('file', 'text')}})\n\
         def mine(context):\n    'Writes a text.'\n    \
         open(context.outputs['out'], 'w').write(str({expression}))\n\
         if __name__ == '__main__':\n    plugin.main()\n"
    )
}

const WORKFLOW: &str = "[plugins]\nmine = 'plugin'\n[stages.stage]\nuses = 'mine'\n";

/// A folder with the plugin and the module for it.
fn test(head: &str, expression: &str) -> Test {
    Test::new()
        .python_sdk()
        .executable("plugin", &plugin(head, expression))
        .workflow(WORKFLOW)
}

/// The stage runs, makes `text`, and is up to date then.
#[track_caller]
fn makes(test: Test, text: &str) -> Test {
    let test = test.run("").ran("stage").check();
    assert_eq!(String::from_utf8_lossy(&test.output("stage", "out")), text);
    // What Python wrote beside its modules changes folders, not the plugin.
    test.run("")
        .cached("stage")
        .check()
        .run("")
        .cached("stage")
        .check()
}

#[test]
fn an_edited_module_reruns_what_imports_it() {
    let test = test("import helper", "helper.value()").file(
        "helper.py",
        "def value():\n    import package.late\n    return package.late.VALUE\n",
    );
    let test = test
        .file("package/__init__.py", "from . import side\n")
        .file("package/side.py", "")
        .file("package/late.py", "VALUE = 'one'\n")
        .file("unrelated.py", "");
    let test = makes(test, "one").file("package/late.py", "VALUE = 'two'\n");
    let test = makes(test, "two").file("package/side.py", "import sys\n");
    let test = test.run("").ran("stage").check();
    let test = test.file("package/__init__.py", "from . import side, late\n");
    let test = test.run("").ran("stage").check();
    let test = test.file("unrelated.py", "import os\n");
    test.run("").cached("stage").check();
}

#[test]
fn a_default_that_comes_from_a_module_is_the_new_one_after_an_edit() {
    let text = plugin("import defaults", "digits").replace(
        "def mine(context)",
        "def mine(context, *, digits: int = defaults.DIGITS)",
    );
    let test = Test::new()
        .python_sdk()
        .executable("plugin", &text)
        .file("defaults.py", "DIGITS = 3\n")
        .workflow(WORKFLOW);
    let test = makes(test, "3").file("defaults.py", "DIGITS = 4\n");
    makes(test, "4");
}

#[test]
fn a_module_that_comes_to_stand_before_another_counts() {
    let test = test(
        "import json, helper",
        "getattr(helper, 'VALUE', json.__name__)",
    );
    let test = makes(test.file("helper.py", "VALUE = 'module'\n"), "module");
    let test = makes(
        test.file("helper/__init__.py", "VALUE = 'package'\n"),
        "package",
    );
    // One of Python's own is shadowed by a file beside the plugin.
    let test = test.file("helper/__init__.py", "");
    let test = makes(test, "json");
    let test = test.file("json.py", "from json_real import *\n");
    test.run("").status(2).stderr_has("json_real").check();
}

#[test]
fn a_declared_version_is_no_promise_for_modules() {
    let text = plugin("import helper", "helper.VALUE")
        .replace("@plugin.stage(", "@plugin.stage(version=7, ");
    let test = Test::new()
        .python_sdk()
        .executable("plugin", &text)
        .file("helper.py", "VALUE = 1\n")
        .workflow(WORKFLOW);
    let test = makes(test, "1").file("helper.py", "VALUE = 2\n");
    let test = makes(test, "2");
    let raised = text.replace("version=7", "version=8");
    makes(test.executable("plugin", &raised), "2");
}

#[test]
fn what_it_depends_on_is_in_its_version() {
    let text = plugin(
        "import pathlib",
        "open(here / 'config.json').read() + open(here / 'more/a.txt').read()",
    )
    .replace(
        "'1')",
        "'1', depends=['config.json', 'more'])\nhere = pathlib.Path(__file__).parent",
    );
    let test = Test::new()
        .python_sdk()
        .executable("plugin", &text)
        .file("config.json", "{}")
        .file("more/a.txt", "a")
        .workflow(WORKFLOW);
    let test = makes(test, "{}a").file("config.json", "[]");
    let test = makes(test, "[]a").file("more/a.txt", "b");
    let test = makes(test, "[]b").file("more/b.txt", "new");
    let test = test.run("").ran("stage").check();
    fs::remove_file(test.path("config.json")).unwrap();
    test.run("")
        .status(2)
        .stderr_has("its `depends` names config.json, and there is no DIR/config.json")
        .check();
}

/// Code that reading alone does not find: named when it is run, and nothing of it is stored.
#[test]
fn code_that_is_in_no_version_is_an_error_that_says_what_to_do() {
    let ways = [
        "__import__('hid' + 'den').VALUE",
        "__import__('importlib').import_module('hid' + 'den').VALUE",
        "__import__('runpy').run_path(__file__.replace('plugin', 'hidden.py'))['VALUE']",
        "(exec(open(__file__.replace('plugin', 'hidden.py')).read(), globals()), VALUE)[1]",
    ];
    for way in ways {
        let test = test("", way).file("hidden.py", "VALUE = 'found'\n");
        let test = test
            .run("")
            .status(1)
            .stages("failed", "stage")
            .stdout_has("it ran code of DIR/hidden.py, which is not in its plugin's version")
            .stdout_has("depends=[…]")
            .check();
        // As the message says.
        let text = plugin("", way).replace("'1')", "'1', depends=['hidden.py'])");
        let test = makes(test.executable("plugin", &text), "found");
        makes(test.file("hidden.py", "VALUE = 'more'\n"), "more");
    }
}

#[test]
fn a_module_from_a_folder_elsewhere_is_an_error() {
    let test = test(
        "import sys, os\nsys.path.insert(0, os.path.dirname(__file__) + '/../lib')\nimport shared",
        "shared.VALUE",
    );
    let lib = test.path("../lib");
    fs::create_dir(&lib).unwrap();
    fs::write(lib.join("shared.py"), "VALUE = 1\n").unwrap();
    let message = format!(
        "it ran code of {}/shared.py",
        lib.canonicalize().unwrap().display()
    );
    let test = test
        .run("")
        .status(1)
        .stages("failed", "stage")
        .stdout_has(&message)
        .check();
    let text = fs::read_to_string(test.path("plugin")).unwrap();
    let text = text.replace("'1')", "'1', depends=['../lib'])");
    makes(test.executable("plugin", &text), "1");
}

#[test]
fn a_module_that_is_edited_while_the_stage_runs_belongs_to_no_version() {
    let edit = "open(__file__.replace('plugin', 'helper.py'), 'a').write('\\n')";
    let test = test("import helper", edit).file("helper.py", "VALUE = 1\n");
    test.run("")
        .status(1)
        .stages("failed", "stage")
        .stdout_has("DIR/helper.py, of its plugin, changed while it ran")
        .check();
}

#[test]
fn a_run_with_nothing_to_do_starts_no_python() {
    let text = plugin(
        "import pathlib\nlog = pathlib.Path(__file__).parent / 'noted'\nlog.open('a').write('x')",
        "1",
    );
    let test = Test::new()
        .python_sdk()
        .executable("plugin", &text)
        .workflow(WORKFLOW)
        .run("")
        .ran("stage")
        .check();
    let starts = test.read("noted");
    assert_eq!(starts, "xx", "describe, and the stage");
    let test = test.run("").cached("stage").check();
    let test = test.flow("status flow.toml").stdout_has("stage").check();
    assert_eq!(test.read("noted"), starts);
}

/// Installs nothing from anywhere: the distribution is made by hand, as pip would.
fn install(venv: &Path, name: &str, version: &str, module: &str) {
    let lib = venv.join("lib");
    let python = fs::read_dir(lib).unwrap().next().unwrap().unwrap().path();
    let site = python.join("site-packages");
    for entry in fs::read_dir(&site).unwrap().flatten() {
        if entry
            .file_name()
            .to_string_lossy()
            .starts_with(&format!("{name}-"))
        {
            fs::remove_dir_all(entry.path()).unwrap();
        }
    }
    let info = site.join(format!("{name}-{version}.dist-info"));
    fs::create_dir(&info).unwrap();
    let metadata = format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\n");
    fs::write(info.join("METADATA"), metadata).unwrap();
    fs::write(site.join(format!("{name}.py")), module).unwrap();
    let digest = blake3::hash(module.as_bytes()).to_hex();
    let record = format!("{name}.py,sha256={digest},{}\n", module.len());
    fs::write(info.join("RECORD"), record).unwrap();
}

#[test]
fn what_is_installed_in_its_virtual_environment_is_in_its_version() {
    let test = Test::new().python_sdk().workflow(WORKFLOW);
    let venv = test.path("venv");
    let made = Command::new("python3")
        .args(["-m", "venv", "--without-pip"])
        .arg(&venv)
        .status();
    assert!(made.unwrap().success(), "python3 -m venv");
    install(&venv, "thing", "1.0", "VALUE = 'one'\n");
    let shebang = format!("#!{}/bin/python3", venv.display());
    let text = plugin("import thing", "thing.VALUE").replace("#!/usr/bin/env python3", &shebang);
    let test = makes(test.executable("plugin", &text), "one");
    // Of another size: Python takes a file of the same second and size for the one that it compiled.
    install(&venv, "thing", "1.1", "VALUE = 'another'\n");
    makes(test, "another");
}
