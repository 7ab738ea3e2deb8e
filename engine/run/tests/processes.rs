//! Whatever a stage does, nothing that it started outlives it: with namespaces of its own and without, as root and as an
//! ordinary user, whichever of flow's processes is killed.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that fails is to stop")]

use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use flow_plan::plan::Variables;
use flow_run::process::environment::{For, environment};
use flow_run::process::{
    Confinement, End, Ending, Hearing, Launch, Mount, Process, isolation, stage_folder,
};
use rustix::process::{Pid, Signal, kill_process};

/// Longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(60);

fn launch(program: &str, arguments: &[&str]) -> Launch {
    let mut launch = Launch::new(program);
    launch.arguments = arguments.iter().map(Into::into).collect();
    let whose = For::Program { ceiling: None };
    launch.environment = environment(whose, &Variables::default(), 1, &[]);
    // Where an ordinary user may look as well.
    let path = launch
        .environment
        .iter_mut()
        .find(|(name, _)| name == "PATH");
    path.unwrap().1 = "/usr/local/bin:/usr/bin:/bin".into();
    launch.folder = "/".into();
    launch
}

fn shell(line: &str) -> Launch {
    launch("sh", &["-c", line])
}

/// The same command as it is, and with namespaces of its own where this machine allows them.
fn both_ways(launch: &Launch) -> Vec<Launch> {
    let mut ways = vec![launch.clone()];
    if isolation().is_ok() {
        let confinement = Some(Confinement {
            mounts: Vec::new(),
            network: true,
        });
        ways.push(Launch {
            confinement,
            ..launch.clone()
        });
    }
    ways
}

/// How it ended, and what it printed.
fn run(launch: &Launch) -> (End, String) {
    let process = Process::start(launch, None, Hearing::AsOne).unwrap();
    attend(process)
}

fn attend(process: Process) -> (End, String) {
    let mut printed = Vec::new();
    let end = process.attend(
        Some(LIMIT),
        || false,
        |_, bytes| {
            printed.extend_from_slice(bytes);
            ControlFlow::Continue(())
        },
    );
    (end.unwrap(), String::from_utf8_lossy(&printed).into_owned())
}

#[track_caller]
fn well(launch: &Launch) -> String {
    let (end, printed) = run(launch);
    assert!(
        matches!(end.why, Ending::Exited(status) if status.success()),
        "{end:?}: {printed}"
    );
    printed
}

/// A number of seconds that no other process sleeps.
fn mark() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("7{}.{count:04}", std::process::id())
}

/// The processes of the machine whose arguments hold the mark.
fn marked(mark: &str) -> Vec<Pid> {
    let is = |pid: &Pid| {
        let line = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
        line.windows(mark.len()).any(|part| part == mark.as_bytes())
    };
    all().into_iter().filter(is).collect()
}

fn all() -> Vec<Pid> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter_map(Pid::from_raw).collect()
}

/// Fields of `/proc/PID/stat` after the name: its state first, then its parent.
fn stat(pid: Pid) -> Option<(String, i32)> {
    let text = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    let mut fields = text[text.rfind(')')? + 1..].split_whitespace();
    Some((fields.next()?.into(), fields.next()?.parse().ok()?))
}

fn children(of: Pid) -> Vec<Pid> {
    let is = |pid: &Pid| stat(*pid).is_some_and(|(_, parent)| parent == of.as_raw_nonzero().get());
    all().into_iter().filter(is).collect()
}

fn spawners() -> Vec<Pid> {
    let own = rustix::process::getpid();
    children(own)
        .into_iter()
        .filter(|pid| stat(*pid).is_some_and(|(state, _)| state != "Z"))
        .collect()
}

#[track_caller]
fn soon(what: &str, is: impl Fn() -> bool) {
    let started = Instant::now();
    while !is() {
        assert!(started.elapsed() < Duration::from_secs(5), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A process that has left its parent, its group and its session, and one that has only left its parent.
fn daemons(mark: &str) -> String {
    format!("setsid sh -c 'sleep {mark} & sleep {mark} &' & (trap '' TERM HUP; sleep {mark}) & ")
}

#[test]
fn what_a_stage_leaves_behind_is_gone_when_it_has_ended() {
    let mark = mark();
    let line = format!("{} sleep 0.1; exit 3", daemons(&mark));
    for launch in both_ways(&shell(&line)) {
        let started = Instant::now();
        let (end, _) = run(&launch);
        assert!(
            matches!(end.why, Ending::Exited(status) if status.code() == Some(3)),
            "{end:?}"
        );
        assert_eq!(marked(&mark), []);
        assert!(started.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn a_daemon_that_holds_the_pipes_is_not_waited_for() {
    let mark = mark();
    let line = format!("setsid sleep {mark} & echo said");
    for launch in both_ways(&shell(&line)) {
        let started = Instant::now();
        assert_eq!(well(&launch), "said\n");
        assert!(started.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn two_hundred_children_end_with_their_stage() {
    let mark = mark();
    let line = format!(
        "for i in $(seq 100); do sleep {mark} & setsid sleep {mark} & done; sleep 0.2; echo on"
    );
    for launch in both_ways(&shell(&line)) {
        assert_eq!(well(&launch), "on\n");
        assert_eq!(marked(&mark), []);
    }
}

#[test]
fn who_ignores_the_request_to_end_is_killed_with_all_that_it_started() {
    let mark = mark();
    let line = format!(
        "trap '' TERM; {} echo on; sleep {mark}; sleep {mark}",
        daemons(&mark)
    );
    std::thread::scope(|scope| {
        for launch in both_ways(&shell(&line)) {
            scope.spawn(move || {
                let process = Process::start(&launch, None, Hearing::AsOne).unwrap();
                let started = Instant::now();
                let limit = Some(Duration::from_millis(200));
                let end = process.attend(limit, || false, |_, _| ControlFlow::Continue(()));
                assert_eq!(end.unwrap().why, Ending::TimedOut);
                let took = started.elapsed();
                assert!(
                    took > Duration::from_secs(5) && took < Duration::from_secs(15),
                    "{took:?}"
                );
            });
        }
    });
    assert_eq!(marked(&mark), []);
}

#[test]
fn who_heeds_the_request_to_end_may_clean_up() {
    for launch in both_ways(&shell(
        "trap 'echo cleaned; exit' TERM; echo on; while :; do sleep 0.01; done",
    )) {
        let process = Process::start(&launch, None, Hearing::AsOne).unwrap();
        let mut printed = Vec::new();
        let end = process.attend(
            None,
            || false,
            |_, bytes| {
                printed.extend_from_slice(bytes);
                ControlFlow::Break(())
            },
        );
        assert_eq!(end.unwrap().why, Ending::Interrupted);
        // Between them the shell may say that its `sleep` was ended.
        let printed = String::from_utf8_lossy(&printed);
        assert!(
            printed.starts_with("on\n") && printed.ends_with("cleaned\n"),
            "{printed}"
        );
    }
}

/// More than any pipe holds goes both ways at once.
#[test]
fn what_goes_in_comes_out_whatever_its_size() {
    let input: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
    for launch in both_ways(&launch("cat", &[])) {
        let process = Process::start(&launch, Some(input.clone()), Hearing::Apart).unwrap();
        let mut output = Vec::new();
        let end = process.attend(
            Some(LIMIT),
            || false,
            |_, bytes| {
                output.extend_from_slice(bytes);
                ControlFlow::Continue(())
            },
        );
        assert!(matches!(end.unwrap().why, Ending::Exited(status) if status.success()));
        assert!(output == input);
    }
}

#[test]
fn a_stage_without_pipes_is_waited_for() {
    for launch in both_ways(&shell("exec >&- 2>&-; sleep 0.1; exit 4")) {
        let (end, _) = run(&launch);
        assert!(
            matches!(end.why, Ending::Exited(status) if status.code() == Some(4)),
            "{end:?}"
        );
    }
}

#[test]
fn long_and_odd_arguments_arrive_as_they_are() {
    use std::os::unix::ffi::OsStringExt;
    let odd = std::ffi::OsString::from_vec(b"a b\"'\n\xff$x".to_vec());
    let mut launch = launch("printf", &["%s|"]);
    launch
        .arguments
        .extend([odd, "".into(), "x".repeat(100_000).into()]);
    for launch in both_ways(&launch) {
        let process = Process::start(&launch, None, Hearing::AsOne).unwrap();
        let mut printed = Vec::new();
        process
            .attend(
                Some(LIMIT),
                || false,
                |_, bytes| {
                    printed.extend_from_slice(bytes);
                    ControlFlow::Continue(())
                },
            )
            .unwrap();
        assert!(printed.starts_with(b"a b\"'\n\xff$x||xxx"));
        assert_eq!(printed.len(), 9 + 1 + 1 + 100_000 + 1);
    }
}

#[test]
fn a_program_that_is_not_there_is_an_error_at_the_start() {
    for launch in both_ways(&launch("there-is-no-such", &[])) {
        let error = Process::start(&launch, None, Hearing::AsOne).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound, "{error}");
    }
    for launch in both_ways(&launch("/etc/passwd", &[])) {
        let error = Process::start(&launch, None, Hearing::AsOne).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
    }
}

#[test]
fn what_a_stage_used_is_measured() {
    let python = "b = bytearray(200 << 20)\nfor i in range(0, len(b), 4096): b[i] = 1";
    for launch in both_ways(&launch("python3", &["-c", python])) {
        let used = run(&launch).0.used.unwrap();
        let megabytes = used.peak_memory >> 20;
        assert!((200..260).contains(&megabytes), "{used:?}");
        assert!(
            used.cpu_seconds > 0.01 && used.cpu_seconds < 30.0,
            "{used:?}"
        );
    }
    for launch in both_ways(&launch("echo", &[])) {
        let used = run(&launch).0.used.unwrap();
        assert!(
            used.peak_memory > 0 && used.peak_memory < 20 << 20,
            "{used:?}"
        );
        assert!(used.cpu_seconds < 1.0, "{used:?}");
    }
    // What a daemon used counts as well.
    let line = "setsid sh -c 'i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done' & wait";
    for launch in both_ways(&shell(line)) {
        assert!(run(&launch).0.used.unwrap().cpu_seconds > 0.01);
    }
}

#[test]
fn three_hundred_stages_leave_no_zombies_and_no_descriptors() {
    let descriptors = |pid: Pid| {
        fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero()))
            .unwrap()
            .count()
    };
    // In a process of its own, in which no other test runs.
    if std::env::var_os("FLOW_TEST_ALONE").is_none() {
        let mut command = again(&[
            "--exact",
            "three_hundred_stages_leave_no_zombies_and_no_descriptors",
        ]);
        return passes(command.env("FLOW_TEST_ALONE", "1"));
    }
    let own = rustix::process::getpid();
    let ways = both_ways(&launch("true", &[]));
    ways.iter().for_each(|launch| drop(well(launch)));
    let [spawner] = spawners()[..] else {
        panic!("{:?}", spawners())
    };
    soon("supervisors end", || children(spawner).is_empty());
    let before = (descriptors(own), descriptors(spawner));
    for launch in &ways {
        let started = Instant::now();
        for _ in 0..300 {
            well(launch);
        }
        let way = launch.confinement.as_ref().map_or("plain", |_| "confined");
        println!(
            "{way}: {:.3} ms a stage",
            started.elapsed().as_secs_f64() / 0.3
        );
    }
    soon("supervisors end", || children(spawner).is_empty());
    assert_eq!(children(own), [spawner]);
    assert_eq!((descriptors(own), descriptors(spawner)), before);
}

#[test]
fn a_killed_supervisor_takes_its_stage_with_it_and_a_killed_spawner_takes_nothing() {
    if std::env::var_os("FLOW_TEST_ALONE").is_none() {
        let name = "a_killed_supervisor_takes_its_stage_with_it_and_a_killed_spawner_takes_nothing";
        return passes(again(&["--exact", name]).env("FLOW_TEST_ALONE", "1"));
    }
    let mark = mark();
    for launch in both_ways(&shell(&format!(
        "{} echo on; sleep 0.5; echo off",
        daemons(&mark)
    ))) {
        // The supervisor, and below it the command; of a confined stage, the supervisor's parent and the supervisor.
        for depth in 0..2 {
            let slow = Launch {
                arguments: shell(&format!("{} sleep {mark}", daemons(&mark))).arguments,
                ..launch.clone()
            };
            let process = Process::start(&slow, None, Hearing::AsOne).unwrap();
            soon("the daemons start", || marked(&mark).len() >= 4);
            let [spawner] = spawners()[..] else {
                panic!("{:?}", spawners())
            };
            let mut victim = children(spawner)[0];
            if depth == 1 {
                victim = children(victim)[0];
            }
            kill_process(victim, Signal::KILL).unwrap();
            let (end, _) = attend(process);
            assert!(
                matches!(end.why, Ending::Exited(status) if !status.success()),
                "{end:?}"
            );
            soon("all of it ends", || marked(&mark).is_empty());
        }
        let process = Process::start(&launch, None, Hearing::AsOne).unwrap();
        let [spawner] = spawners()[..] else {
            panic!("{:?}", spawners())
        };
        kill_process(spawner, Signal::KILL).unwrap();
        let (end, printed) = attend(process);
        assert!(
            matches!(end.why, Ending::Exited(status) if status.success()),
            "{end:?}"
        );
        assert_eq!(printed, "on\noff\n");
        assert_eq!(marked(&mark), []);
        well(&launch);
    }
}

#[test]
fn descriptors_are_held_until_nothing_of_the_stage_is_left() {
    use std::sync::Arc;
    let mark = mark();
    for mut launch in both_ways(&shell(&format!(
        "ls -l /proc/self/fd; {} sleep {mark}",
        daemons(&mark)
    ))) {
        let (reader, writer) = io::pipe().unwrap();
        let held = format!("pipe:[{}]", rustix::fs::fstat(&reader).unwrap().st_ino);
        launch.held = vec![Arc::new(std::os::fd::OwnedFd::from(writer).into())];
        let process = Process::start(&launch, None, Hearing::AsOne).unwrap();
        drop(std::mem::take(&mut launch.held));
        let is_closed = || {
            let mut waiting = [rustix::event::PollFd::new(
                &reader,
                rustix::event::PollFlags::IN,
            )];
            let now = rustix::event::Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            };
            rustix::event::poll(&mut waiting, Some(&now)).unwrap() > 0
        };
        soon("the daemons start", || marked(&mark).len() >= 4);
        assert!(!is_closed());
        let end = process.attend(
            Some(Duration::ZERO),
            || false,
            |_, bytes| {
                // The command itself does not see it.
                let text = String::from_utf8_lossy(bytes);
                assert!(!text.contains(&held), "{text}");
                ControlFlow::Continue(())
            },
        );
        assert_eq!(end.unwrap().why, Ending::TimedOut);
        soon("the descriptor is closed", is_closed);
    }
}

/// A folder of the test's own that all users can read.
fn folder() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

fn write(path: PathBuf, text: &str) -> PathBuf {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn mounts_show_what_is_asked_for_and_nothing_else() {
    if let Err(reason) = isolation() {
        if std::env::var_os("FLOW_ISOLATION").is_none() {
            flow_tests::skip!("no namespaces here: {reason}");
        }
        return;
    }
    let temporary = folder();
    let root = temporary.path();
    let project = root.join("project");
    let data = write(project.join("data/a b.txt"), "data\n");
    write(project.join("src/undeclared.py"), "");
    write(project.join(".git/config"), "");
    let work = root.join("work");
    write(work.join("own.txt"), "own\n");
    let store = write(root.join("store/blob"), "blob\n");
    let input = write(work.join("input"), "");
    let bind = |from: &Path, to: &Path, read_only| Mount::Bind {
        from: from.into(),
        to: to.into(),
        read_only,
    };
    let mut launch = shell(
        "pwd; cat input own.txt; ls -A PROJECT PROJECT/sub; cat 'PROJECT/data/a b.txt'\n\
         echo x > made; echo x 2>/dev/null > input || echo refused; echo x 2>/dev/null > PROJECT/new || echo refused\n\
         echo x 2>/dev/null > 'PROJECT/data/a b.txt' || echo refused; echo x 2>/dev/null > PROJECT/sub/new || echo refused",
    );
    let line = launch.arguments[1]
        .to_str()
        .unwrap()
        .replace("PROJECT", project.to_str().unwrap());
    launch.arguments[1] = line.into();
    launch.folder = stage_folder().into();
    launch.confinement = Some(Confinement {
        mounts: vec![
            bind(&work, stage_folder(), false),
            bind(&store, &stage_folder().join("input"), true),
            Mount::Cover {
                at: project.clone(),
            },
            bind(&data, &data, true),
            bind(&work, &project.join("sub"), true),
        ],
        network: true,
    });
    assert_eq!(
        well(&launch),
        format!(
            "/tmp/flow-stage\nblob\nown\n{0}:\ndata\nsub\n\n{0}/sub:\ninput\nown.txt\ndata\n\
             refused\nrefused\nrefused\nrefused\n",
            project.display()
        )
    );
    // What was asked for stays, and the machine's own view is as it was.
    assert_eq!(fs::read_to_string(work.join("made")).unwrap(), "x\n");
    assert_eq!(fs::read_to_string(&store).unwrap(), "blob\n");
    assert_eq!(fs::read_to_string(&input).unwrap(), "");
    assert_eq!(fs::read_to_string(&data).unwrap(), "data\n");
    assert!(project.join(".git/config").exists() && !project.join("new").exists());
    assert_eq!(fs::read_dir(stage_folder()).unwrap().count(), 0);

    launch
        .confinement
        .as_mut()
        .unwrap()
        .mounts
        .insert(0, bind(&root.join("none"), &work, true));
    let error = Process::start(&launch, None, Hearing::AsOne)
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with(&format!("mounting {}/none at ", root.display())),
        "{error}"
    );
    assert!(error.contains("No such file"), "{error}");
}

#[test]
fn a_confined_stage_sees_its_own_processes_and_keeps_its_user() {
    if isolation().is_err() {
        return;
    }
    let mut launch = shell(
        "echo $$ $PPID; id -u; id -g; ls /proc | grep -c '^[0-9]*$'; ls /sys/class/net | wc -l; cat /proc/net/dev",
    );
    launch.confinement = Some(Confinement {
        mounts: Vec::new(),
        network: false,
    });
    let printed = well(&launch);
    let mut lines = printed.lines();
    let user = rustix::process::geteuid().as_raw();
    let group = rustix::process::getegid().as_raw();
    assert_eq!(lines.next(), Some("2 1"), "{printed}");
    assert_eq!(lines.next(), Some(user.to_string().as_str()), "{printed}");
    assert_eq!(lines.next(), Some(group.to_string().as_str()), "{printed}");
    assert!(
        lines.next().unwrap().parse::<u32>().unwrap() <= 4,
        "{printed}"
    );
    let devices = printed.lines().filter(|line| line.contains(':')).count();
    assert_eq!(devices, 1, "{printed}");
    launch.arguments = shell("python3 -c 'import socket as s; a = s.create_server((\"127.0.0.1\", 0)); s.create_connection(a.getsockname())'").arguments;
    well(&launch);
}

/// This test's own program.
fn again(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(arguments).arg("--nocapture");
    command
}

#[track_caller]
fn passes(command: &mut Command) {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    assert!(!text.contains("running 0 tests"), "{text}");
    println!("{text}");
}

/// Of all but the tests that call others.
const OTHERS: [&str; 4] = ["--skip", "the_same_", "--skip", "who_ignores"];

#[test]
fn the_same_as_an_ordinary_user() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let program = std::env::current_exe().unwrap();
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(program)
        .args(OTHERS)
        .arg("--nocapture")
        .env("HOME", "/");
    passes(&mut command);
}

#[test]
fn the_same_without_namespaces() {
    passes(again(&OTHERS).env("FLOW_ISOLATION", "off"));
}
