//! Axes in `language = 2`: known by their names in all stages, with rows of tables and globs, pinned, gathered by columns.

#![allow(clippy::unwrap_used, reason = "a test that fails is to stop")]

use std::fs;

use flow_tests::Test;

/// Samples with columns, as a spreadsheet saves them: with a byte order mark and the line breaks of Windows.
const SHEET: &str =
    "\u{feff}id,group,fastq,note\r\nA,case,a.fq,x\r\nB,case,b.fq,\r\nC,control,c.fq,z\r\n";

/// Maps each sample of the sheet, and gathers by group.
const GROUPED: &str = r#"
[workflow]
language = 2
[stages.map]
matrix = { sample = { table = "samples.csv", key = "id" } }
run = "cat ${inputs.reads} > ${outputs.bam}; echo ${matrix.sample} > ${outputs.bai}"
inputs = { reads = { path = "raw/${matrix.sample.fastq}" } }
outputs = { bam = "${matrix.sample}.bam", bai = "${matrix.sample}.bam.bai" }
[stages.call]
run = "cat ${inputs.all.bam} > ${outputs.vcf}; ls ${inputs.all.folder} > ${outputs.seen}; cat ${inputs.all.list} ${inputs.all.bai.list} >> ${outputs.seen}; echo ${matrix.group} ${inputs.all} >> ${outputs.vcf}"
inputs = { all = { collect = ["map.bam", "map.bai"], by = "sample.group" } }
outputs = { vcf = "calls.vcf", seen = "seen.txt" }
[deliver]
"results/${matrix.group}.vcf" = "call"
"bams/${matrix.sample.group}/${matrix.sample}.bam" = "map.bam"
"#;

fn reads(test: Test) -> Test {
    let test = test.file("raw/a.fq", "reads of a\n");
    let test = test.file("raw/b.fq", "reads of b\n");
    test.file("raw/c.fq", "reads of c\n")
}

fn grouped() -> Test {
    reads(Test::new())
        .file("samples.csv", SHEET)
        .workflow(GROUPED)
}

const ALL: &str = "map[sample=A] map[sample=B] map[sample=C] call[group=case] call[group=control]";

#[test]
fn an_axis_of_two_stages_is_one_and_no_file_of_a_is_sorted_as_c() {
    let text = r#"
[workflow]
language = 2
[params]
s = ["A", "B", "C"]
[stages.map]
matrix = { sample = "${s}" }
run = "echo mapped ${matrix.sample} > ${outputs.bam}"
outputs = { bam = "x.bam" }
[stages.sort]
matrix = { sample = "${s}" }
run = "cat ${inputs.bam} > ${outputs.bam}; echo sorted as ${matrix.sample} >> ${outputs.bam}"
inputs = { bam = "map" }
outputs = { bam = "${matrix.sample}.bam" }
[stages.index]
run = "echo index of ${matrix.sample} > ${outputs.bai}; cat ${inputs.bam} >> ${outputs.bai}"
inputs = { bam = "sort" }
outputs = { bai = "bai" }
"#;
    let all = "map[sample=A] map[sample=B] map[sample=C] sort[sample=A] sort[sample=B] sort[sample=C] \
               index[sample=A] index[sample=B] index[sample=C]";
    let test = Test::new().workflow(text).run("").ran(all).check();
    assert_eq!(
        test.output("index[sample=C]", "bai"),
        b"index of C\nmapped C\nsorted as C\n"
    );
    // The key has the value, whichever stage says where it comes from.
    let test = test
        .edit(
            "[stages.sort]\nmatrix = { sample = \"${s}\" }\n",
            "[stages.sort]\n",
        )
        .run("")
        .cached(all)
        .check();
    // One value more is one more instance of each.
    test.run("").arg("--set").arg("s=[\"A\",\"B\",\"D\"]")
        .cached("map[sample=A] map[sample=B] sort[sample=A] sort[sample=B] index[sample=A] index[sample=B]")
        .ran("map[sample=D] sort[sample=D] index[sample=D]")
        .check();
}

#[test]
fn without_language_2_an_axis_of_a_stage_and_one_that_it_reads_from_is_an_error_that_shows_both_ways()
 {
    let text = "\
[stages.map]
matrix = { sample = ['A', 'B'] }
run = 'echo ${matrix.sample} > ${outputs.o}'
outputs = { o = 'o' }
[stages.between]
run = 'cat ${inputs.i} > ${outputs.o}'
inputs = { i = 'map' }
outputs = { o = 'o' }
[stages.sort]
matrix = { sample = ['A', 'B'] }
run = 'cat ${inputs.i} > ${outputs.o}; echo ${matrix.sample}'
inputs = { i = 'between' }
outputs = { o = 'o' }
";
    let test = Test::new()
        .workflow(text)
        .flow("check flow.toml")
        .status(2)
        .stderr_has("the axis `sample` of stage `sort` is one of stage `map` too")
        .stderr_has(
            " 2 | matrix = { sample = ['A', 'B'] }\n   |            ------ its other declaration\n",
        )
        .stderr_has("10 | matrix = { sample = ['A', 'B'] }\n   |            ^^^^^^\n")
        .stderr_has(
            "`language = 2` under [workflow] makes it one axis: sort[sample=…] reads map[sample=…]",
        )
        .stderr_has("call one of the two by another name")
        .check();
    // One way …
    let head = "[workflow]\nlanguage = 2\n";
    let test = test.workflow(&format!("{head}{text}")).run("").ran(
        "map[sample=A] map[sample=B] between[sample=A] between[sample=B] sort[sample=A] sort[sample=B]",
    ).check();
    // … and the other.
    let other = text
        .replacen("sample", "s", 1)
        .replacen("matrix.sample", "matrix.s", 1);
    test.workflow(&other)
        .run("")
        .cached("between[s=A] between[s=B] sort[s=A,sample=A] sort[s=B,sample=B]")
        .ran("map[s=A] map[s=B] sort[s=A,sample=B] sort[s=B,sample=A]")
        .check();
    // Stages beside each other may have axes of one name.
    let beside = text.replace(
        "inputs = { i = 'between' }",
        "inputs = { i = { path = 'flow.toml' } }",
    );
    Test::new()
        .workflow(&beside)
        .flow("check flow.toml")
        .stdout_has("6 instance(s)")
        .check();
}

#[test]
fn an_axis_with_two_sources_is_an_error_that_shows_both() {
    let text = "\
[workflow]
language = 2
[stages.a]
matrix = { s = [1, 2] }
run = 'echo ${matrix.s} > ${outputs.o}'
outputs = { o = 'o' }
[stages.b]
matrix = { s = [2, 1] }
run = 'echo ${matrix.s} > ${outputs.o}'
outputs = { o = 'o' }
";
    let differs = "the axis `s` has another source in two places";
    let test = Test::new()
        .workflow(text)
        .flow("check flow.toml")
        .status(2)
        .stderr_has(differs)
        .stderr_has("8 | matrix = { s = [2, 1] }\n  |                ^^^^^^")
        .stderr_has("4 | matrix = { s = [1, 2] }\n  |                ------ the other source")
        .check();
    let test = test
        .edit("s = [2, 1]", "s = { table = 's.csv', key = 'id' }")
        .file("s.csv", "id\n1\n2\n")
        .flow("check flow.toml")
        .status(2)
        .stderr_has(differs)
        .check();
    // One file by two keys is two sources.
    let test = test
        .edit("s = [1, 2]", "s = { table = 's.csv', key = 'other' }")
        .file("s.csv", "id,other\n1,x\n2,y\n")
        .flow("check flow.toml")
        .status(2)
        .stderr_has(differs)
        .check();
    test.edit("key = 'other'", "key = 'id'")
        .flow("check flow.toml")
        .stdout_has("is right")
        .check();
}

#[test]
fn samples_from_a_csv_with_columns() {
    let test = grouped().run("").ran(ALL).check();
    assert_eq!(
        test.output("call[group=case]", "vcf"),
        b"reads of a\nreads of b\ncase inputs/all/A.bam inputs/all/B.bam inputs/all/A.bam.bai inputs/all/B.bam.bai\n"
    );
    // Nothing changed: what was read is compared, and nothing runs.
    let test = test.run("").cached(ALL).check();
    // A cell that nothing uses is in no key.
    let test = test
        .file("samples.csv", SHEET.replace(",x\r\n", ",y\r\n"))
        .run("")
        .cached(ALL)
        .check();
    // What a cell says counts by what it leads to.
    let test = test
        .file(
            "samples.csv",
            SHEET.replace("C,control,c.fq", "C,control,a.fq"),
        )
        .run("")
        .cached("map[sample=A] map[sample=B] call[group=case]")
        .ran("map[sample=C] call[group=control]")
        .check();
    // One sample more, of a new group: and one less.
    let more = format!("{SHEET}D,late,a.fq,\r\n");
    let test = test
        .file("samples.csv", &more)
        .run("")
        .cached(ALL)
        .ran("map[sample=D] call[group=late]")
        .check();
    test.file("samples.csv", more.replace("A,case,a.fq,x\r\n", ""))
        .run("--prune --force call[group=case]")
        .cached("map[sample=B] map[sample=C] map[sample=D] call[group=control] call[group=late]")
        .ran("call[group=case]")
        .check();
}

#[test]
fn tables_are_csv_tsv_json_and_parquet_text_unless_they_have_types() {
    let text = r#"
[workflow]
language = 2
[params]
sheet = "t.csv"
[stages.s]
matrix = { s = { table = "${sheet}", key = "id" } }
run = "echo ${matrix.s} ${matrix.s.rate} > ${outputs.o}"
outputs = { o = "o" }
files = { "p.json" = { rate = "${matrix.s.rate}", more = "${matrix.s.more}" } }
"#;
    let test = Test::new()
        .file("t.csv", "id,rate,more\n1,0.10,\"a, \"\"b\"\"\nc\"\n")
        .file("t.tsv", "id\trate\tmore\n1\t0.10\ta, b\n")
        .file(
            "t.json",
            r#"[{"id": 1, "rate": 0.10, "more": ["a", {"b": null}], "none": null}]"#,
        )
        .workflow(text)
        .run("")
        .ran("s[s=1]")
        .check();
    assert_eq!(test.output("s[s=1]", "o"), b"1 0.10\n");
    let test = test.run("--set sheet=t.tsv").ran("s[s=1]").check();
    assert_eq!(test.output("s[s=1]", "o"), b"1 0.10\n");
    let test = test.run("--set sheet=t.json").ran("s[s=1]").check();
    assert_eq!(test.output("s[s=1]", "o"), b"1 0.1\n");
    test.edit("${matrix.s.rate} >", "${matrix.s.none} >")
        .run("--set sheet=t.json")
        .status(2)
        .stderr_has("`${matrix.s.none}` refers to nothing")
        .stderr_has("did you mean `matrix.s.more`?")
        .check();
}

#[test]
fn what_is_wrong_with_a_table_is_said_with_its_line() {
    let test = grouped();
    let wrong = [
        ("", "`samples.csv` is empty", "samples.csv:1:1"),
        (
            "id,group,fastq\n",
            "the axis `sample` has no values: `samples.csv` has no rows",
            "flow.toml:5:21",
        ),
        (
            "id,group,fastq\nA,g,a.fq\nB,g\n",
            "this line of `samples.csv` has 2 cells, and the first has 3",
            "samples.csv:3:1",
        ),
        (
            "id,group,fastq\nA,g,a.fq\n\nA,g,b.fq\n",
            "`A` stands twice in `samples.csv`: it is in samples.csv:2 already",
            "samples.csv:4:1",
        ),
        (
            "name,group,fastq\nA,g,a.fq\n",
            "there is no column `id` in `samples.csv`",
            "samples.csv:1:1",
        ),
        (
            "id,group,group\nA,g,a.fq\n",
            "two columns of `samples.csv` are called `group`",
            "samples.csv:1:1",
        ),
        (
            "id,group,fastq\n,g,a.fq\n",
            "this row of `samples.csv` has no name",
            "samples.csv:2:1",
        ),
        (
            "id,group,fastq\nA,,a.fq\n",
            "`A` has no `group` to be gathered by",
            "samples.csv:2:1",
        ),
        (
            "id,fastq\nA,a.fq\n",
            "there is no column `group` in the axis `sample`",
            "flow.toml:11:",
        ),
        (
            "id,group\nA,g\n",
            "`${matrix.sample.fastq}` refers to nothing",
            "flow.toml:7:",
        ),
        (
            "id,group,fastq\nA,g,no.fq\n",
            "`raw/no.fq` does not exist",
            "samples.csv:2:1",
        ),
    ];
    let mut test = test;
    for (sheet, said, place) in wrong {
        test = test
            .file("samples.csv", sheet)
            .flow("run flow.toml")
            .status(2)
            .stderr_has(said)
            .stderr_has(&format!("--> {place}"))
            .check();
    }
    let test = test
        .file("samples.csv", b"id,group,fastq\nA,g,a.fq\nB,\xff,b.fq\n")
        .flow("run flow.toml")
        .status(2)
        .stderr_has("the file samples.csv is not UTF-8: line 3")
        .check();
    fs::remove_file(test.path("samples.csv")).unwrap();
    let test = test
        .flow("run flow.toml")
        .status(2)
        .stderr_has("the file samples.csv can't be read")
        .stderr_has("--> flow.toml:5:21")
        .check();
    let json = |test: Test, text: &str, said: &str| {
        test.file("samples.json", text)
            .flow("run flow.toml")
            .status(2)
            .stderr_has(said)
            .stderr_has("--> samples.json:1:")
            .check()
    };
    let test = test.edit("samples.csv", "samples.json");
    let test = json(test, "{}", "`samples.json` has to be a list, not a table");
    let test = json(test, "[1]", "a row has to be a table, not an integer");
    let test = json(
        test,
        "[{\"id\": [1]}]",
        "the key of a row of `samples.json` is a list",
    );
    let test = json(test, "[{\"id\": null}]", "there is no column `id`");
    let test = json(test, "[", "this is not valid JSON");
    let test = test.edit("samples.json", "samples.parquet");
    let test = test
        .file("samples.parquet", "PAR1 and no more")
        .flow("run flow.toml")
        .status(2)
        .stderr_has("the file samples.parquet can't be read")
        .check();
    test.edit("samples.parquet", "samples.xlsx")
        .flow("run flow.toml")
        .status(2)
        .stderr_has("`samples.xlsx` is no table by its ending")
        .check();
}

#[test]
fn samples_from_files_in_a_folder() {
    let text = r#"
[workflow]
language = 2
[stages.trim]
matrix = { sample = { glob = "raw/{lane}/{sample}_R1.fastq" } }
run = "echo ${matrix.sample} ${matrix.sample.lane} > ${outputs.o}; cat ${inputs.reads} >> ${outputs.o}"
inputs = { reads = { path = "${matrix.sample.path}" } }
outputs = { o = "o" }
"#;
    let test = Test::new()
        .file("raw/1/A_R1.fastq", "a\n")
        .file("raw/2/B_R1.fastq", "b\n")
        .file("raw/2/B_R2.fastq", "b\n")
        .file("raw/2/.B_R1.fastq", "hidden\n")
        .workflow(text)
        .run("")
        .ran("trim[sample=A] trim[sample=B]")
        .check();
    assert_eq!(test.output("trim[sample=B]", "o"), b"B 2\nb\n");
    let test = test.run("").cached("trim[sample=A] trim[sample=B]").check();
    // A new file is a new value, also for the short way of a run with nothing to do.
    let test = test
        .file("raw/2/C_R1.fastq", "c\n")
        .run("")
        .cached("trim[sample=A] trim[sample=B]")
        .ran("trim[sample=C]")
        .check();
    fs::remove_file(test.path("raw/1/A_R1.fastq")).unwrap();
    let test = test.run("").cached("trim[sample=B] trim[sample=C]").check();
    let test = test
        .file("raw/1/C_R1.fastq", "c\n")
        .run("")
        .status(2)
        .stderr_has("`C` stands twice in `raw/{lane}/{sample}_R1.fastq`")
        .check();
    // What a run delivers is no value of the next one.
    fs::remove_file(test.path("raw/1/C_R1.fastq")).unwrap();
    let deliver = "[deliver]\n\"raw/1/${matrix.sample}x_R1.fastq\" = \"trim\"\n";
    let test = test
        .workflow(&format!("{text}{deliver}"))
        .run("")
        .status(2)
        .stderr_has("lies in, the input `raw/{lane}/{sample}_R1.fastq`")
        .check()
        .workflow(text);
    let test = test
        .edit("raw/{lane}/{sample}_R1", "none/{sample}")
        .run("")
        .status(2)
        .stderr_has("the axis `sample` has no values: nothing matches `none/{sample}.fastq`")
        .check();
    test.edit("none/{sample}", "none/{s}")
        .run("")
        .status(2)
        .stderr_has("nothing in it says what `sample` is: write {sample}")
        .check();
}

#[test]
fn rows_may_stand_in_the_workflow_and_come_from_params() {
    let text = r#"
[workflow]
language = 2
[params]
nets = [{ name = "small", width = 8 }, { name = "wide", width = 64 }]
[stages.train]
matrix = { net = { rows = "${nets}", key = "name" } }
run = "echo ${matrix.net} ${matrix.net.width} > ${outputs.o}"
outputs = { o = "${matrix.net}.txt" }
[stages.whole]
matrix = { opt = [{ lr = 0.1 }, { lr = 0.2 }] }
run = "echo ${matrix.opt.lr} > ${outputs.o}"
outputs = { o = "o" }
"#;
    let test = Test::new()
        .workflow(text)
        .run("")
        .ran("train[net=small] train[net=wide]")
        .anyhow()
        .check();
    assert_eq!(test.output("train[net=wide]", "o"), b"wide 64\n");
    assert_eq!(test.output("whole[opt={\"lr\":0.2}]", "o"), b"0.2\n");
    let test = test
        .edit("name = \"wide\"", "name = \"small\"")
        .run("")
        .status(2)
        .stderr_has("the axis `name` names \"small\" twice")
        .check();
    test.edit("key = \"name\"", "key = \"nam\"")
        .run("")
        .status(2)
        .stderr_has("there is no column `nam` in this row")
        .stderr_has("did you mean `name`?")
        .check();
}

#[test]
fn a_pinned_axis_is_handed_on_no_further() {
    let text = r#"
[workflow]
language = 2
[stages.map]
matrix = { sample = { table = "samples.csv", key = "id" } }
run = "echo ${matrix.sample} > ${outputs.bam}"
outputs = { bam = "bam" }
[stages.against]
run = "cat ${inputs.own} ${inputs.other} > ${outputs.o}"
inputs = { own = "map", other = "map[sample=${matrix.sample.partner}].bam" }
outputs = { o = "o" }
[stages.pairs]
matrix = { partner = ["A", "C"] }
run = "cat ${inputs.i} ${inputs.j} > ${outputs.o}"
inputs = { i = "map[sample=${matrix.partner}].bam", j = "map[sample=B]" }
outputs = { o = "o" }
[stages.one]
run = "cat ${inputs.i} > ${outputs.o}"
inputs = { i = "map[sample=C].bam" }
outputs = { o = "o" }
"#;
    let all = "map[sample=A] map[sample=B] map[sample=C] against[sample=A] against[sample=B] against[sample=C] \
               pairs[partner=A] pairs[partner=C] one";
    let test = Test::new()
        .file("samples.csv", "id,partner\nA,C\nB,C\nC,A\n")
        .workflow(text)
        .run("")
        .ran(all)
        .check();
    assert_eq!(test.output("against[sample=B]", "o"), b"B\nC\n");
    assert_eq!(test.output("against[sample=C]", "o"), b"C\nA\n");
    assert_eq!(test.output("pairs[partner=C]", "o"), b"C\nB\n");
    assert_eq!(test.output("one", "o"), b"C\n");
    let test = test
        .file("samples.csv", "id,partner\nA,C\nB,X\nC,A\n")
        .run("")
        .status(2)
        .stderr_has("no instance of `map` has sample=X")
        .check();
    test.edit("matrix.sample.partner", "matrix.other")
        .file("samples.csv", "id,partner\nA,C\nB,C\nC,A\n")
        .run("")
        .status(2)
        .stderr_has("`${matrix.other}` refers to nothing that is known here")
        .check();
}

#[test]
fn a_gather_by_group_names_its_files_after_instances() {
    let test = grouped().run("").ran(ALL).check();
    // What the stage saw: its folder, and the lists of its files.
    let seen = String::from_utf8(test.output("call[group=case]", "seen")).unwrap();
    assert_eq!(
        seen,
        "A.bam\nA.bam.bai\nB.bam\nB.bam.bai\n\
         inputs/all/A.bam\ninputs/all/B.bam\ninputs/all/A.bam.bai\ninputs/all/B.bam.bai\n\
         inputs/all/A.bam.bai\ninputs/all/B.bam.bai\n"
    );
    // By an axis itself: one gather for each of its values, over all the others.
    let text = r#"
[workflow]
language = 2
[stages.part]
matrix = { chunk = [1, 2], sample = ["A", "B"] }
run = "echo ${matrix.sample}${matrix.chunk} > ${outputs.o}"
outputs = { o = "p.txt", q = "q.txt" }
[stages.whole]
run = "echo ${matrix.sample} ${inputs.parts} > ${outputs.o}"
inputs = { parts = { collect = "part.o", by = "sample" } }
outputs = { o = "o" }
[stages.both]
run = "echo ${inputs.parts} > ${outputs.o}; echo ${inputs.parts.q} >> ${outputs.o}"
inputs = { parts = { collect = ["part.o", "part.q"], by = ["sample", "chunk"], as = "in/" } }
outputs = { o = "o" }
"#
    .replace(
        "outputs = { o = \"p.txt\", q",
        "outputs = { o = \"o.txt\", q",
    )
    .replace(
        "> ${outputs.o}\"\noutputs = { o = \"o.txt\"",
        "> ${outputs.o}; echo > ${outputs.q}\"\noutputs = { o = \"o.txt\"",
    );
    let test = Test::new().workflow(&text).run("").anyhow().check();
    assert_eq!(
        test.output("whole[sample=B]", "o"),
        b"B inputs/parts/1.txt inputs/parts/2.txt\n"
    );
    // Two outputs that would have one name have their roles in it.
    assert_eq!(
        test.output("both[chunk=2,sample=A]", "o"),
        b"in/part.o.txt in/part.q.txt\nin/part.q.txt\n"
    );
}

#[test]
fn what_can_not_be_gathered_is_said() {
    let mut test = grouped();
    for (from, to, said) in [
        (
            "by = \"sample.group\"",
            "by = \"region\"",
            "stage `map` has no axis `region` to gather by",
        ),
        (
            "by = \"sample.group\"",
            "by = \"sample.\"",
            "nothing can be gathered by `sample.`",
        ),
        (
            "[\"map.bam\", \"map.bai\"]",
            "[\"map.bam\", \"map.bam\"]",
            "two outputs that are gathered side by side can't both be `bam`",
        ),
        (
            "[\"map.bam\", \"map.bai\"]",
            "[]",
            "`collect` is an empty list",
        ),
        (
            "bai = \"${matrix.sample}.bam.bai\"",
            "list = \"list\"",
            "stage `map` has no output `bai`",
        ),
        (
            "inputs.all.bam",
            "inputs.all.bm",
            "did you mean `inputs.all.bam`?",
        ),
        (
            "collect = [\"map.bam\", \"map.bai\"], by",
            "from = \"map.bam\", by",
            "`by` belongs to `collect`",
        ),
        (
            "language = 2",
            "language = 1",
            "an axis whose values are rows needs `language = 2`",
        ),
    ] {
        test = test
            .edit(from, to)
            .run("")
            .status(2)
            .stderr_has(said)
            .check()
            .edit(to, from);
    }
    test.edit("[\"map.bam\", \"map.bai\"]", "[\"map.bam\", \"map.list\"]")
        .edit("bai = \"${matrix.sample}.bam.bai\"", "list = \"list\"")
        .edit("outputs.bai", "outputs.list")
        .run("")
        .status(2)
        .stderr_has("`list` can't be the role of an output that is gathered beside others")
        .check();
}

#[test]
fn values_make_file_names_that_are_one_name_each() {
    let long = "x".repeat(300);
    let text = r#"
[workflow]
language = 2
[stages.s]
matrix = { v = { table = "v.json", key = "id" } }
run = "echo hello > ${outputs.o}; echo ${matrix.v} >> ${outputs.o}"
outputs = { o = "${matrix.v}.txt" }
[stages.all]
run = "ls ${inputs.all.folder} > ${outputs.o}"
inputs = { all = { collect = "s" } }
outputs = { o = "o" }
[deliver]
"out/${matrix.v}.txt" = "s"
"#;
    let values = ["a/b", "..", ".x", "-f", "twin", "Twin", "ä b", &long];
    let rows: Vec<_> = values
        .iter()
        .map(|v| serde_json::json!({ "id": v }))
        .collect();
    let test = Test::new()
        .file("v.json", serde_json::Value::from(rows).to_string())
        .workflow(text)
        .run("")
        .anyhow()
        .check();
    let gathered = String::from_utf8(test.output("all", "o")).unwrap();
    let mut gathered: Vec<&str> = gathered.lines().collect();
    gathered.sort();
    let mut delivered: Vec<String> = fs::read_dir(test.path("out"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    delivered.sort();
    assert_eq!(
        gathered, delivered,
        "a value has one name wherever it makes one"
    );
    for name in ["a%2Fb.txt", "%2E..txt", "%2Ex.txt", "%2Df.txt", "ä b.txt"] {
        assert!(gathered.contains(&name), "{name}: {gathered:?}");
    }
    let twins = gathered
        .iter()
        .filter(|name| name.to_lowercase().starts_with("twin~"));
    assert_eq!(twins.count(), 2, "{gathered:?}");
    assert!(
        gathered.iter().all(|name| name.len() <= 170),
        "{gathered:?}"
    );
}

#[test]
fn no_values_are_an_error_unless_what_gathers_them_says_so() {
    let text = r#"
[workflow]
language = 2
[params]
found = []
[stages.part]
matrix = { n = "${found}" }
run = "echo ${matrix.n} > ${outputs.o}"
outputs = { o = "o" }
[stages.next]
run = "cat ${inputs.i} > ${outputs.o}"
inputs = { i = "part" }
outputs = { o = "o" }
[stages.all]
run = "echo parts ${inputs.parts} > ${outputs.o}; ls ${inputs.parts.folder}; cat ${inputs.parts.list}"
inputs = { parts = { collect = "next.o" } }
outputs = { o = "o" }
"#;
    let test = Test::new()
        .workflow(text)
        .run("")
        .status(2)
        .stderr_has("the axis `n` has no values: its list is empty")
        .stderr_has("--> flow.toml:5:9")
        .stderr_has("write `allow_empty = true` there")
        .check();
    let test = test
        .edit(
            "collect = \"next.o\"",
            "collect = \"next.o\", allow_empty = true",
        )
        .run("")
        .ran("all")
        .check();
    assert_eq!(test.output("all", "o"), b"parts\n");
    let test = test
        .run("--set found=[1]")
        .ran("part[n=1] next[n=1] all")
        .check();
    test.edit(
        "[stages.all]",
        "[stages.strict]\nrun = 'echo ${inputs.p} > ${outputs.o}'\ninputs = { p = { collect = 'part' } }\noutputs = { o = 'o' }\n[stages.all]",
    )
    .run("")
    .status(2)
    .stderr_has("`part` has no instances to gather: its list is empty")
    .check();
}

#[test]
fn all_commands_know_axes() {
    let test = grouped()
        .run("--until call[group=control]")
        .ran("map[sample=C] call[group=control]")
        .check();
    assert!(test.has("results/control.vcf") && test.has("bams/control/C.bam"));
    assert!(!test.has("results/case.vcf"));
    let test = test
        .flow("status flow.toml --expand")
        .stdout_has("call[group=case]")
        .stdout_has("map[sample=A]")
        .check();
    let test = test
        .flow("check flow.toml")
        .stdout_has("2 stage(s), 5 instance(s)")
        .check();
    let test = test.flow("graph flow.toml").stdout_has("map").check();
    let test = test.run("").anyhow().check();
    let test = test
        .flow("get flow.toml map[sample=B].bam -o B.bam")
        .anyhow()
        .check();
    assert_eq!(test.read("B.bam"), "reads of b\n");
    let test = test
        .file("samples.csv", SHEET.replace("B,case,b.fq", "B,case,c.fq"))
        .flow("why flow.toml map[sample=B]")
        .stdout_has("reads")
        .check();
    let test = test.flow("schema").stdout_has("allow_empty").check();
    test.flow("report flow.toml -o page.html").anyhow().check();
}

#[test]
fn a_sweep_over_a_param_that_feeds_an_axis_shares_what_its_points_share() {
    let text = r#"
[workflow]
language = 2
[params]
s = ["A"]
[stages.map]
matrix = { sample = "${s}" }
run = "echo ${matrix.sample} > ${outputs.o}"
outputs = { o = "o" }
[stages.count]
run = "echo ${inputs.all} > ${outputs.o}"
inputs = { all = { collect = "map" } }
outputs = { o = "o" }
[sweep]
axes = { s = [["A"], ["A", "B"]] }
"#;
    let test = Test::new().workflow(text).run("").anyhow().check();
    let stages = &test.last().stages;
    let of = |stage: &str| {
        stages
            .keys()
            .filter(|label| label.starts_with(stage))
            .count()
    };
    assert_eq!((of("map"), of("count")), (2, 2), "{:?}", stages.keys());
}

#[test]
fn a_run_is_planned_again_from_what_it_kept_of_its_tables() {
    let test = grouped().run("").ran(ALL).check();
    let run = fs::read_dir(test.path(".flow/runs"))
        .unwrap()
        .next()
        .unwrap();
    let head = fs::read_to_string(run.unwrap().path().join("run.json")).unwrap();
    assert!(
        head.contains("samples.csv") && head.contains("C,control,c.fq"),
        "{head}"
    );
    // The sheet is another one now; the run's instances are those that it had.
    test.file("samples.csv", "id,group,fastq\nX,g,a.fq\n")
        .flow("runs flow.toml")
        .anyhow()
        .check();
}

/// The Snakemake tutorial's shape, with small programs that behave alike: a sheet of samples, an index beside each file, groups.
#[test]
fn a_sheet_of_samples_is_mapped_and_called_by_group() {
    let text = r#"
[workflow]
language = 2
[params]
seed_length = 19
[stages.index]
run = "cp genome.fa genome.fa.bwt; wc -c < genome.fa > genome.fa.fai"
inputs = { genome = { path = "data/genome.fa", as = "genome.fa" } }
outputs = { index = "genome.fa*" }
[stages.map]
matrix = { sample = { table = "samples.csv", key = "id" } }
run = "cat genome.fa.fai ${inputs.r1} ${inputs.r2} > ${outputs.bam}; echo ${cpus} ${seed_length} > ${outputs.bai}"
inputs = { index = { from = "index", as = "." }, r1 = { path = "${matrix.sample.r1}" }, r2 = { path = "${matrix.sample.r2}" } }
outputs = { bam = "${matrix.sample}.bam", bai = "${matrix.sample}.bam.bai" }
resources = { cpus = 1 }
[stages.call]
matrix = { region = ["I:1", "II:1"] }
run = "for bam in ${inputs.bams.bam}; do test -e $$bam.bai; cat $$bam; done > ${outputs.vcf}; echo ${matrix.region} ${matrix.group} >> ${outputs.vcf}"
inputs = { index = { from = "index", as = "." }, bams = { collect = ["map.bam", "map.bai"], by = "sample.group" } }
outputs = { vcf = "calls.vcf" }
[deliver]
"results/${matrix.group}.${matrix.region}.vcf" = "call"
"#
    .replace("$$bam", "$bam");
    let test = Test::new()
        .file("data/genome.fa", "ACGT\n")
        .file("reads/A_1", "a1\n")
        .file("reads/A_2", "a2\n")
        .file("reads/B_1", "b1\n")
        .file("reads/B_2", "b2\n")
        .file(
            "samples.csv",
            "id,group,r1,r2\nA,case,reads/A_1,reads/A_2\nB,case,reads/B_1,reads/B_2\nC,control,reads/A_1,reads/B_2\n",
        )
        .workflow(&text)
        .run("")
        .ran(
            "index map[sample=A] map[sample=B] map[sample=C] call[group=case,region=I:1] call[group=case,region=II:1] \
             call[group=control,region=I:1] call[group=control,region=II:1]",
        )
        .check();
    assert_eq!(
        test.read("results/case.II:1.vcf"),
        "5\na1\na2\n5\nb1\nb2\nII:1 case\n"
    );
}

/// A plugin whose one kind lists the files of a folder.
const LISTS: &str = "\
#!/usr/bin/env python3
import os
import flow_stage
plugin = flow_stage.Plugin('flow-stages-mine', '1')
@plugin.stage(inputs={'all': ('folder', 'files')}, outputs={'out': ('file', 'their names')})
def lists(context):
    'Lists files.'
    names = ' '.join(sorted(os.listdir(context.inputs['all'])))
    open(context.outputs['out'], 'w').write(names)
if __name__ == '__main__':
    plugin.main()
";

#[test]
fn a_kind_finds_gathered_files_under_the_names_of_instances_and_older_workflows_as_before() {
    let text = "\
[plugins]
mine = 'plugin'
[stages.part]
matrix = { s = ['b', 'a/c'] }
run = 'echo ${matrix.s} > ${outputs.o}'
outputs = { o = 'o.txt' }
[stages.lists]
uses = 'lists'
inputs = { all = { collect = 'part' } }
";
    let test = Test::new()
        .executable("plugin", LISTS)
        .python_sdk()
        .workflow(text)
        .run("")
        .ran("part[s=b] part[s=a/c] lists")
        .check();
    assert_eq!(test.output("lists", "out"), b"000000.txt 000001.txt");
    // Other names are another action.
    let test = test
        .workflow(&format!("[workflow]\nlanguage = 2\n{text}"))
        .run("")
        .cached("part[s=b] part[s=a/c]")
        .ran("lists")
        .check();
    assert_eq!(test.output("lists", "out"), b"a%2Fc.txt b.txt");
    test.workflow(text)
        .run("")
        .cached("part[s=b] part[s=a/c] lists")
        .check();
}
