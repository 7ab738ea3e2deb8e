//! Everything that can be wrong with a workflow: data where it is found, words here.

use super::places::Conflict;
use super::source::Span;

/// One thing that is wrong. The text says what; [`Problem::help`] says what to do.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "each variant's text says what it and its fields are"
)]
pub enum Problem {
    // The file as text.
    #[error("the file {path} can't be read: {cause}")]
    Unreadable { path: String, cause: String },
    #[error("the file {path} is not UTF-8 text: see line {line}")]
    NotText { path: String, line: usize },
    #[error("this is not valid TOML: {message}")]
    Syntax { message: String },
    #[error("this is not valid {form}: {message}")]
    Malformed { form: &'static str, message: String },
    #[error("`{path}` is no file of params by its ending")]
    UnknownForm { path: String },
    #[error("{what} can't be used in a workflow")]
    UnusableValue { what: &'static str },
    #[error("{what} has to be {expected}, not {found}")]
    WrongType {
        what: String,
        expected: &'static str,
        found: &'static str,
    },
    #[error("unknown key `{key}` in {within}")]
    UnknownKey {
        key: String,
        within: String,
        known: Vec<String>,
    },
    #[error("the workflow has no stages")]
    NoStages,
    #[error("`{name}` can't be a name")]
    InvalidName { name: String },
    #[error("stage `{stage}` has neither `uses` nor `run`")]
    NoAction { stage: String },
    #[error("stage `{stage}` has both `uses` and `run`")]
    TwoActions { stage: String },
    #[error("`{key}` belongs to stages with `{belongs}`")]
    NotForThisAction {
        key: &'static str,
        belongs: &'static str,
    },
    #[error("the command is empty")]
    EmptyCommand,
    #[error("the plot `{name}` has no `file`")]
    PlotWithoutFile { name: String },
    #[error("a plot has one of `file` and `files`")]
    TwoPlotFiles,
    #[error("`{file}` is no file among the stage's outputs")]
    PlotOfNothing { file: String, known: Vec<String> },
    #[error("a `run` stage needs `outputs`")]
    NoOutputs { stage: String },
    #[error("this `${{` is never closed")]
    UnclosedReference,
    #[error("`${{{name}}}` is not a reference")]
    NotAName { name: String },
    #[error("`${{…}}` can't stand in a value of an axis")]
    ReferenceInAxis,
    #[error("these params are made of each other: {}", path.join(" → "))]
    ParamCycle { path: Vec<String> },
    #[error("params lead to more than {most} others through their references")]
    TooManyReferences { most: usize },
    #[error("something is wrong in a param, which is said there")]
    SaidBefore,
    #[error("`${{…}}` can't stand in {what}")]
    ReferenceNotHere { what: &'static str },
    #[error("`{text}` is not a reference to a stage")]
    MalformedReference { text: String },
    #[error("the input `{role}` has several of `from`, `collect` and `path`")]
    TwoOrigins { role: String },
    #[error("the input `{role}` is no `path`, so it has nothing to exclude")]
    NothingToExclude { role: String },
    #[error("{what} is an empty list")]
    EmptyList { what: &'static str },
    #[error("`{place}` is no place in the stage's folder")]
    BadPlace { place: String },
    #[error("`{path}` can't be the path of a file in the stage's folder")]
    BadFilePath { path: String },
    #[error("`{path}` is written from {expected}, and this is {found}")]
    BadFileValue {
        path: String,
        expected: &'static str,
        found: &'static str,
    },
    #[error("{what} can't be `{word}`")]
    UnknownWord {
        what: &'static str,
        word: String,
        known: Vec<String>,
    },
    #[error("`shell` runs a `run` string, and this stage's `run` is a list")]
    ShellWithoutLines,
    #[error("`{name}` can't be a tool")]
    BadTool { name: String },
    #[error("the variable `{name}` stands in `env` and in `secret_env`")]
    SecretTwice { name: String },
    #[error("the environment `{name}` needs exactly one of `venv`, `conda` and `image`")]
    EnvironmentWithoutKind { name: String },
    #[error("`{key}` belongs to environments with `{belongs}`")]
    NotForThisEnvironment { key: String, belongs: &'static str },
    #[error("the image `{image}` is not named by its digest")]
    ImageWithoutDigest { image: String },
    #[error("`{root}` is no folder that the workflow file lies in")]
    BadRoot { root: String },
    #[error("a value makes `{name}` a glob")]
    OutputBecomesGlob { name: String },
    #[error("`{text}` is not a length of time")]
    BadTimeout { text: String },
    #[error("`{text}` is not an amount of memory")]
    BadMemory { text: String },
    #[error("`{name}` would lie outside the stage's output folder")]
    OutputEscapes { name: String },
    #[error("nothing can be delivered to `{path}`")]
    DeliveryEscapes { path: String },
    #[error("a name in `{path}` is longer than 255 bytes")]
    DeliveryTooLong { path: String },
    #[error("{what} is delivered to `{path}`, and {other} to `{other_path}`")]
    SameDelivery {
        what: String,
        path: String,
        other: String,
        other_path: String,
    },
    #[error("`{path}` is, or lies in, the input `{input}`: a run would change what it reads")]
    DeliveryIsInput { path: String, input: String },
    #[error("the output `{name}` is another one too, or one of the two lies in the other")]
    SameOutput { name: String },
    #[error("`{name}` can't be the name of an environment variable")]
    BadVariable { name: String },
    #[error("{what} has to lie between {low} and {high}, and is {found}")]
    OutOfRange {
        what: &'static str,
        low: i64,
        high: i64,
        found: i64,
    },
    #[error("the axis `{axis}` has no values")]
    EmptyAxis { axis: String },
    #[error("the axis `{axis}` names {value} twice")]
    RepeatedValue { axis: String, value: String },
    #[error("the axis `{axis}` has two values that are both called `{name}`")]
    SameName { axis: String, name: String },
    #[error("two instances would both be called `{label}`")]
    SameLabel { label: String },
    #[error("`seeds` has to lie between 1 and {most}, and is {found}")]
    SeedCount { found: i64, most: i64 },
    #[error("an assignment needs a `=`")]
    SetWithoutValue,
    #[error("`{path}` can't be set")]
    NotSettable { path: String },
    #[error("there is no value")]
    NoValue,
    #[error("`{path}` has no value that could be taken away")]
    NothingSet { path: String },
    #[error("`{path}` is {found}, so nothing in it can be set")]
    NotATable { path: String, found: String },
    #[error("a variant is chosen as GROUP=NAME")]
    VariantWithoutName,
    #[error("there is no variant `{name}`")]
    UnknownVariant { name: String, known: Vec<String> },
    #[error("there is no group of variants `{group}`")]
    UnknownGroup {
        group: String,
        is_param: bool,
        known: Vec<String>,
    },
    #[error("a variant of `{group}` can't choose for its own group")]
    UsesItself { group: String },
    #[error("`{group}` is a group of variants, and no param")]
    SetsGroup { group: String, value: String },
    #[error("nothing is chosen of the group `{group}`, which is required")]
    NothingChosen { group: String, known: Vec<String> },
    #[error("the param `{name}` is {wanted} in the workflow, and {found} here")]
    OtherType {
        name: String,
        wanted: &'static str,
        found: &'static str,
    },
    #[error(
        "the axis `{axis}` of stage `{stage}` is one of stage `{other_stage}` too, which it reads from: each of its values would meet each of the other's"
    )]
    AxisTwice {
        axis: String,
        stage: String,
        other_stage: String,
        other: Span,
    },
    #[error("the axis `{axis}` has another source in two places")]
    AxisDiffers { axis: String, other: Span },
    #[error("the axis `{axis}` has no values: {why}")]
    NoValues { axis: String, why: String },
    #[error("{what} needs `language = 2` under [workflow]")]
    NeedsLanguage { what: &'static str },
    #[error("this axis needs one of `table`, `glob` and `rows`")]
    AxisWithoutSource,
    #[error("the rows of this axis have no names")]
    AxisWithoutKey,
    #[error("`key` belongs to `table` and `rows`")]
    KeyOfGlob,
    #[error("`{path}` is no table by its ending")]
    UnknownTable { path: String },
    #[error("the file {path} is not UTF-8: line {line}")]
    NotUtf8 { path: String, line: usize },
    #[error("`{path}` is empty")]
    EmptyTable { path: String },
    #[error("this line of `{path}` has {found} {}, and the first has {wanted}", cells(*found))]
    Ragged {
        path: String,
        found: usize,
        wanted: usize,
    },
    #[error("two columns of `{path}` are called `{column}`")]
    ColumnTwice { column: String, path: String },
    #[error("there is no column `{column}` in {within}")]
    NoColumn {
        column: String,
        within: String,
        known: Vec<String>,
    },
    #[error("this row of `{within}` has no name: its key is empty")]
    NoKey { within: String },
    #[error("the key of a row of `{within}` is {found}")]
    KeyNotPlain { within: String, found: &'static str },
    #[error("`{key}` stands twice in `{within}`: it is in {first} already")]
    KeyTwice {
        key: String,
        within: String,
        first: String,
        other: Span,
    },
    #[error("`{key}` belongs to `collect`")]
    NoGather { key: &'static str },
    #[error("nothing can be gathered by `{text}`")]
    BadBy { text: String },
    #[error("stage `{stage}` has no axis `{axis}` to gather by")]
    NoAxisToGatherBy {
        stage: String,
        axis: String,
        known: Vec<String>,
    },
    #[error("`{key}` has no `{column}` to be gathered by")]
    NothingToGatherBy { key: String, column: String },
    #[error("`{stage}` has no instances to gather: {why}")]
    EmptyGather { stage: String, why: String },
    #[error("two outputs that are gathered side by side can't both be `{name}`")]
    SideBySide { name: String },
    #[error("`{name}` can't be the role of an output that is gathered beside others")]
    RoleOfGathers { name: String },
    #[error("a value makes this path empty")]
    EmptyPath,
    #[error("{why}")]
    BadSweep { why: &'static str },
    #[error("there is no mode `{mode}`")]
    UnknownMode { mode: String, known: Vec<String> },
    #[error("`{text}` is not a goal")]
    MalformedGoal { text: String },
    #[error("`{axis}` is a param and a group of variants")]
    AmbiguousAxis { axis: String },
    #[error("there is no axis `{axis}`")]
    UnknownAxis { axis: String, known: Vec<String> },
    #[error("the axis `{axis}` never is {value}")]
    UnknownValue {
        axis: String,
        value: String,
        known: Vec<String>,
    },
    #[error("axes that are zipped need as many values each: {lengths}")]
    UnequalAxes { lengths: String },
    #[error("this point is listed twice")]
    RepeatedPoint,
    #[error("the sweep would have {arithmetic} points, more than {limit}")]
    TooManyPoints { arithmetic: String, limit: usize },
    #[error("the sweep would have more than {limit} distinct stages")]
    SweepTooLarge { limit: usize },
    #[error("the sweep has no points: `where` leaves all of them out")]
    NoPoints,
    #[error("a point is chosen as AXIS=VALUE,AXIS=VALUE")]
    MalformedPoint,
    #[error("no point of the sweep is `{point}`")]
    NoSuchPoint { point: String, known: Vec<String> },
    #[error("nothing is swept, so there are no points to choose from")]
    NothingSwept,
    #[error("these files include each other: {}", files.join(" → "))]
    IncludeCycle { files: Vec<String> },

    // What names refer to.
    #[error("there is no param `{name}`")]
    UnknownParam { name: String, known: Vec<String> },
    #[error("`${{{name}}}` refers to nothing that is known here")]
    UnknownName { name: String, known: Vec<String> },
    #[error("there is no environment `{name}`")]
    UnknownEnvironment { name: String, known: Vec<String> },
    #[error("several plugins have a stage kind `{kind}`")]
    AmbiguousKind { kind: String, known: Vec<String> },
    #[error("{conflict}")]
    Place { conflict: Conflict },
    #[error("there is no stage kind `{kind}`")]
    UnknownKind { kind: String, known: Vec<String> },
    #[error("there is no stage `{stage}`")]
    UnknownStage { stage: String, known: Vec<String> },
    #[error("stage `{stage}` has no output `{output}`")]
    UnknownOutput {
        stage: String,
        output: String,
        known: Vec<String>,
    },
    #[error("`{kind}` has no input `{role}`")]
    UnknownInput {
        kind: String,
        role: String,
        /// The stage, where it is of another kind in the files.
        other: Option<String>,
        known: Vec<String>,
    },
    #[error("stage `{stage}` lacks the input `{role}` of `{kind}`")]
    MissingInput {
        stage: String,
        kind: String,
        role: String,
        summary: String,
    },
    #[error("the input `{role}` takes `{wanted}`, and `{reference}` is {found}")]
    WrongArtifact {
        role: String,
        wanted: String,
        reference: String,
        found: String,
    },
    #[error("`{kind}` has no parameter `{name}`")]
    UnknownParameter {
        kind: String,
        name: String,
        known: Vec<String>,
    },
    #[error("`{kind}` needs its parameter `{name}`")]
    MissingParameter {
        kind: String,
        name: String,
        description: String,
    },
    #[error("parameter `{name}` of `{kind}`: {message}")]
    BadParameter {
        kind: String,
        name: String,
        message: String,
        description: String,
    },
    #[error("the schema of `{kind}` is damaged: {message}")]
    BadSchema { kind: String, message: String },
    #[error("these stages wait for each other: {}", path.join(" → "))]
    Cycle { path: Vec<String> },
    #[error("no instance of `{stage}` has {selector}")]
    NoInstance {
        stage: String,
        selector: String,
        known: Vec<String>,
    },
    #[error("stage `{stage}` would have {arithmetic} instances, more than {limit}")]
    TooManyInstances {
        stage: String,
        arithmetic: String,
        limit: usize,
    },
    #[error(
        "with stage `{stage}` the workflow would have {others} + {own} instances, more than {limit}"
    )]
    TooManyInAll {
        stage: String,
        others: usize,
        own: usize,
        limit: usize,
    },

    // Files that it names.
    #[error("`{path}` does not exist")]
    MissingFile { path: String },
    #[error("{path} can't be read: {cause}")]
    UnreadableFile { path: String, cause: String },
    #[error("`{pattern}` matches a name that is not UTF-8: {name}")]
    OddName { pattern: String, name: String },
    #[error("`{path}` has to be {wanted}")]
    WrongPath { path: String, wanted: &'static str },
    #[error("no file matches `{pattern}`")]
    EmptyGlob { pattern: String },
    #[error("`{pattern}` matches {count} files, and the input takes one")]
    ManyFiles { pattern: String, count: usize },
    #[error("`{pattern}` is not a glob: {cause}")]
    BadGlob { pattern: String, cause: String },
    #[error(
        "stage `{stage}` is frozen, and would read {}, which the sweep varies",
        list(axes)
    )]
    FrozenSwept { stage: String, axes: Vec<String> },
    #[error(
        "`{label}` is frozen, and no run of this workflow file has left a result of it in this store"
    )]
    FrozenWithoutResult { label: String },
    #[error("`{label}` is frozen, and its result of run {run} can't stand: {why}")]
    FrozenUnusable {
        label: String,
        run: String,
        why: String,
    },
    #[error("{cause}")]
    BadSurroundings { cause: String },
    #[error("the plugin {path} can't be used: {cause}")]
    BadPlugin { path: String, cause: String },

    // Warnings.
    #[error("`{path}` keeps {} of what stood there", list(kept))]
    Merges { path: String, kept: Vec<String> },
    #[error("the stage does something else here, so `{path}` loses {}", list(gone))]
    WithGoes { path: String, gone: Vec<String> },
    #[error("the param `{name}` is never used")]
    UnusedParam { name: String },
    #[error("nothing reads stage `{stage}`, and `{kind}` has no figures to show")]
    UnusedStage { stage: String, kind: String },
    #[error("`{file}` is no file of figures by its ending")]
    NoFigures { file: String },
    #[error("the environment `{name}` is never used")]
    UnusedEnvironment { name: String },
}

impl Problem {
    /// Whether the workflow can run all the same.
    pub fn is_warning(&self) -> bool {
        matches!(
            self,
            Problem::Merges { .. }
                | Problem::WithGoes { .. }
                | Problem::UnusedParam { .. }
                | Problem::UnusedStage { .. }
                | Problem::UnusedEnvironment { .. }
                | Problem::NoFigures { .. }
        )
    }

    /// The piece of text that it is about, where that is less than the whole value at its place.
    pub(super) fn token(&self) -> Option<String> {
        match self {
            Problem::UnknownName { name, .. } | Problem::NotAName { name } => {
                Some(format!("${{{name}}}"))
            }
            Problem::UnclosedReference => Some("${".into()),
            Problem::UnknownStage { stage, .. } => Some(stage.clone()),
            Problem::UnknownOutput { output, .. } => Some(output.clone()),
            Problem::NoInstance { selector, .. } => Some(selector.clone()),
            Problem::UnknownVariant { name, .. } => Some(name.clone()),
            Problem::UnknownGroup { group, .. } => Some(group.clone()),
            Problem::UnknownAxis { axis, .. } => Some(axis.clone()),
            _ => None,
        }
    }

    /// Another place that it is about, and what stands there.
    pub(super) fn other(&self) -> Option<(Span, &'static str)> {
        match self {
            Problem::AxisTwice { other, .. } => Some((*other, "its other declaration")),
            Problem::AxisDiffers { other, .. } => Some((*other, "the other source")),
            Problem::KeyTwice { other, .. } => Some((*other, "the first")),
            _ => None,
        }
    }

    /// What to do about it, where there is more to say than what is wrong.
    pub fn help(&self) -> Option<String> {
        match self {
            Problem::NotText { .. } => Some("save it as UTF-8".into()),
            Problem::Unreadable { .. } => Some("name a file that exists and can be read".into()),
            Problem::UnknownKey { key, known, .. } => Some(suggest(key, known)),
            Problem::NoStages => Some("add a table `[stages.NAME]` with `uses = \"KIND\"` or `run = […]`".into()),
            Problem::InvalidName { .. } => Some("a name is made of letters, digits, `_` and `-`, and starts with a letter".into()),
            Problem::NoAction { .. } => Some("`uses = \"KIND\"` takes a stage kind (`flow stages` lists them), `run = […]` any program".into()),
            Problem::TwoActions { .. } => Some("keep one of them".into()),
            Problem::NoOutputs { .. } => Some("name at least one: outputs = { table = \"table.csv\" }, written by the program to ${outputs.table}".into()),
            Problem::NotAName { .. } => Some("write ${name}, ${matrix.axis} or, in `run`, ${inputs.role}, ${outputs.role}, ${work}; $${ stands for a literal ${".into()),
            Problem::UnclosedReference => Some("close it with `}`, or write $${ for a literal ${".into()),
            Problem::ReferenceInAxis => Some("an axis has plain values, or is \"${name}\" of a list".into()),
            Problem::ParamCycle { .. } => Some("one of them has to be a plain value".into()),
            Problem::TooManyReferences { .. } => Some("let params refer to fewer others, or write values in their places".into()),
            Problem::ReferenceNotHere { .. } => Some("references stand in `with`, `run`, `path`, `as`, `matrix`, `outputs`, and in the values of `files` and `env`".into()),
            Problem::MalformedReference { .. } => Some("write \"stage\", \"stage.output\", \"stage[axis=value].output\", { collect = \"stage.output\" } or { path = \"file\" }".into()),
            Problem::BadTimeout { .. } => Some("write it like \"90s\", \"30m\" or \"2h 30m\"".into()),
            Problem::BadMemory { .. } => Some("write it like \"800MB\", \"16GB\" or \"16GiB\"".into()),
            Problem::OutputEscapes { .. } => Some("give a plain relative name, such as \"table.csv\"".into()),
            Problem::DeliveryEscapes { .. } => Some("give a file or folder below the workflow's root, outside `.flow`".into()),
            Problem::SameDelivery { .. } => Some("each result needs a path of its own: name what differs in it, such as ${matrix.AXIS}".into()),
            Problem::DeliveryIsInput { .. } => Some("deliver it to another folder".into()),
            Problem::SetWithoutValue => Some("write NAME=VALUE".into()),
            Problem::NotSettable { .. } => Some("params, `stages.NAME.uses` and `stages.NAME.with.PARAMETER` can be set".into()),
            Problem::NoValue => Some("`\"\"` is the empty string; what lies in a stage's `with`, or in a table, is taken away with `stages.NAME.with.PARAMETER=`".into()),
            Problem::NothingSet { .. } => Some("delete this option, or correct the name".into()),
            Problem::NotATable { path, .. } => Some(format!("set all of it: {path}={{NAME=VALUE}}")),
            Problem::UnknownVariant { name, known } => Some(suggest(name, known)),
            Problem::UnknownGroup { group, is_param: true, .. } => Some(format!("`{group}` is a param: --set {group}=VALUE")),
            Problem::UnknownGroup { group, known, .. } => Some(suggest(group, known)),
            Problem::UsesItself { .. } => Some("delete it: choosing the variant has done that".into()),
            Problem::SetsGroup { group, value } => Some(format!("write --variant {group}={value}")),
            Problem::NothingChosen { group, known } => Some(format!("write --variant {group}=NAME; {}", there_are(known))),
            Problem::OtherType { name, .. } => Some(format!("give it that type, or change the type of `{name}` in the workflow file")),
            Problem::AxisTwice { axis, stage, other_stage, .. } => Some(format!(
                "`language = 2` under [workflow] makes it one axis: {stage}[{axis}=…] reads {other_stage}[{axis}=…]. For all pairs, call one of the two by another name"
            )),
            Problem::AxisDiffers { .. } => Some("an axis is known by its name, in all stages: give both the same source, or call one by another name. A stage that reads from one with the axis has it too, and need not declare it".into()),
            Problem::NoValues { .. } => Some("give it some; or, where `collect` may gather nothing, write `allow_empty = true` there".into()),
            Problem::NeedsLanguage { .. } => Some("add it: an axis is then known by its name, in all stages that have it".into()),
            Problem::AxisWithoutSource => Some("write a list, { table = \"samples.csv\", key = \"id\" }, { glob = \"raw/{sample}.fastq\" } or { rows = [{ id = \"a\" }], key = \"id\" }".into()),
            Problem::AxisWithoutKey => Some("say which column has them: key = \"id\"".into()),
            Problem::KeyOfGlob => Some("delete it: the brace that is called as the axis is the key".into()),
            Problem::UnknownTable { .. } => Some("a table is `.csv`, `.tsv`, `.json` or `.parquet`".into()),
            Problem::NotUtf8 { .. } => Some("save it as UTF-8".into()),
            Problem::EmptyTable { .. } => Some("its first line has the names of the columns".into()),
            Problem::Ragged { .. } => Some("each line has a cell for each column; a cell with a separator in it stands in double quotes".into()),
            Problem::ColumnTwice { .. } => Some("call one of them otherwise".into()),
            Problem::NoColumn { column, known, .. } => Some(suggest(column, known)),
            Problem::NoKey { .. } => Some("give each row a name, or delete the row".into()),
            Problem::KeyNotPlain { .. } => Some("a key is a text, a number, true or false".into()),
            Problem::KeyTwice { .. } => Some("each row needs a name of its own".into()),
            Problem::NoGather { .. } => Some("delete it, or write { collect = \"stage.output\" }".into()),
            Problem::BadBy { .. } => Some("write by = \"axis\" or by = \"axis.column\", each once; names are made of letters, digits, `_` and `-`".into()),
            Problem::NoAxisToGatherBy { axis, known, .. } => Some(suggest(axis, known)),
            Problem::NothingToGatherBy { .. } => Some("give each row a text or a number there".into()),
            Problem::EmptyGather { .. } => Some("if that is right, write `allow_empty = true` beside `collect`".into()),
            Problem::SideBySide { .. } => Some("${inputs.ROLE.OUTPUT} could not tell them apart: gather them by two roles".into()),
            Problem::RoleOfGathers { .. } => Some("${inputs.ROLE.folder} and ${inputs.ROLE.list} mean something else: give the output another role".into()),
            Problem::EmptyPath => Some("give it a path, or leave the input out".into()),
            Problem::Merges { path, .. } => Some(format!(
                "flow 0.2 replaced it. In a variant and after --set, `replace.{path} = …` still does; `language = 2` under [workflow] says that it is right to keep them"
            )),
            Problem::WithGoes { .. } => Some(
                "flow 0.2 kept them. Write here what the stage takes now; `language = 2` under [workflow] says that it is right to lose them".into(),
            ),
            Problem::UnknownParam { name, known }
            | Problem::UnknownName { name, known } => Some(suggest(name, known)),
            Problem::UnknownKind { kind, known } if known.is_empty() => Some(format!(
                "no plugin was found that could have `{kind}`: put flow-stages-* beside flow or on the PATH, or name one under [plugins]"
            )),
            Problem::UnknownKind { kind, known } => Some(format!(
                "{} (plugins are looked for beside flow, under [plugins], in FLOW_PLUGIN_PATH and on the PATH)",
                suggest(kind, known)
            )),
            Problem::UnknownStage { stage, known } => Some(suggest(stage, known)),
            Problem::UnknownOutput { output, known, .. } => Some(suggest(output, known)),
            Problem::UnknownInput { other: Some(stage), known, .. } => Some(format!(
                "`{stage}` is of another kind in the file, and inputs merge: `replace.stages.{stage}.inputs = {{…}}` in the variant leaves out the old ones; {}",
                there_are(known)
            )),
            Problem::UnknownInput { role, known, .. } => Some(suggest(role, known)),
            Problem::UnknownParameter { name, known, .. } => Some(suggest(name, known)),
            Problem::EmptyCommand => Some("name a program, and what it is called with".into()),
            Problem::EmptyAxis { .. } => Some("give it values, or delete it".into()),
            Problem::RepeatedValue { .. } => Some("delete one of them: each value makes an instance".into()),
            Problem::SameName { .. } => Some("a number and a string of the same text can't be told apart in the names of instances: keep one of them".into()),
            Problem::SameLabel { .. } => Some("write the values of its axes without commas".into()),
            Problem::SeedCount { found, .. } if *found >= 0 => Some(format!(
                "a list names seeds: `seeds = [{found}]`, on the command line --seeds '[{found}]'"
            )),
            Problem::SeedCount { .. } => Some("write how many, or a list of seeds such as [42]".into()),
            Problem::UnknownMode { mode, known } => Some(suggest(mode, known)),
            Problem::MalformedGoal { .. } => Some("write \"stage.metric\", or \"stage[axis=value].metric\" where a stage has a matrix".into()),
            Problem::AmbiguousAxis { axis } => Some(format!("write `params.{axis}` or `variants.{axis}`")),
            Problem::UnknownAxis { axis, known } => Some(format!(
                "{} (an axis is a param, a group of variants, `stages.NAME.uses` or `stages.NAME.with.PARAMETER`)",
                suggest(axis, known)
            )),
            Problem::UnknownValue { known, .. } => Some(format!("it is {}", list(known))),
            Problem::RepeatedPoint => Some("delete one of them; `seeds` repeats points".into()),
            Problem::TooManyPoints { .. } => Some("leave out values, or list `points`; `where` and `random` choose from no more than that either".into()),
            Problem::SweepTooLarge { .. } => Some("sweep less at a time: results are shared all the same".into()),
            Problem::NoSuchPoint { known, .. } => Some(format!(
                "{}; what is left out may be anything",
                there_are(known)
            )),
            Problem::NothingSwept => Some("add a table `[sweep]`, or --sweep".into()),
            Problem::Cycle { .. } => Some("one of them has to read something else".into()),
            Problem::TooManyInstances { .. } | Problem::TooManyInAll { .. } => Some(
                "instances of several matrices multiply: read one instance as \"stage[axis=value]\", or all at once as { collect = \"stage\" }".into(),
            ),
            Problem::BadGlob { .. } => Some("`*`, `?` and `[…]` match names; write `[[]`, `[*]` or `[?]` for the character itself".into()),
            Problem::OddName { .. } => Some("give it another name".into()),
            Problem::NoInstance { known, .. } => Some(there_are(known)),
            Problem::MissingInput { role, summary, .. } => Some(format!("`{role}`: {summary}")),
            Problem::MissingParameter { name, description, .. } | Problem::BadParameter { name, description, .. }
                if !description.is_empty() =>
            {
                Some(format!("`{name}`: {description}"))
            }
            Problem::NotForThisAction { key: "outputs", .. } => Some("delete it: a stage kind declares its own".into()),
            Problem::NotForThisAction { belongs: "run", .. } => Some("delete it: a stage kind finds its files by itself, and runs as its plugin says".into()),
            Problem::NotForThisAction { .. } => Some("a command takes values as ${name}, from [params]".into()),
            Problem::UnknownForm { .. } => Some("a file of params ends with `.toml`, `.yaml`, `.yml` or `.json`".into()),
            Problem::UnusableValue { what: "null" } => Some("leave it out, or write a value of the type that it has in the workflow".into()),
            Problem::UnusableValue { .. } => Some("in quotes it is a string, which can be used".into()),
            Problem::SameOutput { .. } => Some("give each output a file name of its own".into()),
            Problem::BadVariable { .. } => Some("env = [\"NAME\"] passes on the value that flow itself is started with, env = { NAME = \"value\" } sets one".into()),
            Problem::ManyFiles { .. } => Some("only `run` stages, and parameters that take a list, take several files".into()),
            Problem::MissingFile { .. } | Problem::EmptyGlob { .. } => Some("paths are relative to the workflow file's folder, or to `[workflow] root` where that is given".into()),
            Problem::UnusedStage { stage, .. } => Some(format!(
                "delete it, or let a stage read it; where its result is all you want, `--until {stage}` makes no more"
            )),
            Problem::PlotWithoutFile { .. } => Some("name one of the stage's outputs, or a file in a folder of them: file = \"roc.json\"".into()),
            Problem::TwoPlotFiles => Some("name one file, or several by a glob".into()),
            Problem::PlotOfNothing { file, known } => Some(format!("a plot is made of what is kept: declare it, outputs = {{ … = \"{file}\" }}; the outputs are {}", known.iter().map(|known| format!("`{known}`")).collect::<Vec<_>>().join(", "))),
            Problem::NoFigures { .. } => Some("an output `metrics` is .json, .yaml or .toml, so that tables show its numbers; give any other file another role".into()),
            Problem::UnusedEnvironment { name } => Some(format!("delete it, or name it in a stage: environment = \"{name}\"")),
            Problem::UnknownEnvironment { name, known } => Some(suggest(name, known)),
            Problem::UnknownWord { word, known, .. } => Some(suggest(word, known)),
            Problem::AmbiguousKind { known, .. } => Some(format!("write which one is meant: {}", one_of("uses = ", known))),
            Problem::Place { conflict } => Some(conflict.help()),
            Problem::TwoOrigins { .. } => Some("give each an input of its own".into()),
            Problem::NothingToExclude { .. } => Some("delete `exclude`: it leaves out files of your own folders".into()),
            Problem::EmptyList { .. } => Some("name at least one".into()),
            Problem::BadPlace { .. } => Some("write a relative path without `..`, such as \"data/x.csv\"; \"dir/\" means into that folder, \".\" into the stage's folder itself".into()),
            Problem::BadFilePath { .. } => Some("write a relative path without `..`, such as \"conf/params.yaml\"".into()),
            Problem::BadFileValue { .. } => Some("the ending decides: `.yaml`, `.yml` and `.json` take any value, `.toml` a table, others a string".into()),
            Problem::ShellWithoutLines => Some("delete it, or write `run` as one string".into()),
            Problem::BadTool { .. } => Some("write tools = [\"bwa\"], or tools = { samtools = \"samtools --version\" }".into()),
            Problem::SecretTwice { .. } => Some("keep it in one of them: `secret_env` passes on what stands in no key and no log".into()),
            Problem::EnvironmentWithoutKind { .. } => Some("write one: venv = \".venv\", conda = \"conda-lock.txt\" or image = \"name@sha256:…\"".into()),
            Problem::NotForThisEnvironment { .. } => Some("delete it".into()),
            Problem::ImageWithoutDigest { image } => Some(format!(
                "a tag may mean another image tomorrow. `podman pull {image}`, then `podman image inspect --format '{{{{index .RepoDigests 0}}}}' {image}` prints NAME@sha256:…, which stands for one image"
            )),
            Problem::FrozenSwept { .. } => Some("delete `frozen`, or sweep what the stage does not read".into()),
            Problem::FrozenWithoutResult { .. } | Problem::FrozenUnusable { .. } => {
                Some("run it once without `frozen = true`: its last result is what stands then".into())
            }
            Problem::BadRoot { .. } => Some("name the file's folder or one around it, such as \"..\"".into()),
            Problem::OutputBecomesGlob { .. } => Some("one of `*`, `?` and `[` comes from a value: leave these out of values that name outputs".into()),
            Problem::UnusedParam { .. } => Some("delete it, or refer to it as ${name}".into()),
            _ => None,
        }
    }
}

fn cells(count: usize) -> &'static str {
    if count == 1 { "cell" } else { "cells" }
}

/// The nearest known name, else all of them.
fn suggest(name: &str, known: &[String]) -> String {
    let nearest = known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .min()
        .filter(|(distance, _)| *distance <= 1 + name.len() / 4);
    match nearest {
        Some((_, candidate)) => format!("did you mean `{candidate}`?"),
        None if known.is_empty() => "there is none".into(),
        None => there_are(known),
    }
}

fn there_are(names: &[String]) -> String {
    format!("{} {}", is_or_are(names.len()), list(names))
}

/// What stands before the names of all that there is.
pub fn is_or_are(count: usize) -> &'static str {
    if count == 1 { "there is" } else { "there are" }
}

fn one_of(before: &str, names: &[String]) -> String {
    let names: Vec<String> = names
        .iter()
        .map(|name| format!("{before}\"{name}\""))
        .collect();
    names.join(" or ")
}

fn list(names: &[String]) -> String {
    const SHOWN: usize = 30;
    let mut text = names
        .iter()
        .take(SHOWN)
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > SHOWN {
        text += &format!(" and {} more", names.len() - SHOWN);
    }
    text
}

/// Problems as they are found.
#[derive(Debug, Default)]
pub struct Problems {
    pub(super) found: Vec<(Problem, Option<Span>)>,
}

impl Problems {
    /// Notes a problem at a place.
    pub fn add(&mut self, problem: Problem, span: Span) {
        self.add_at(problem, Some(span));
    }

    /// Notes a problem at a place, where it has one.
    pub fn add_at(&mut self, problem: Problem, span: Option<Span>) {
        let entry = (problem, span);
        if !self.found.contains(&entry) {
            self.found.push(entry);
        }
    }

    /// Notes a problem that has no place in a text.
    pub fn add_without_place(&mut self, problem: Problem) {
        self.add_at(problem, None);
    }

    /// Takes over what was found elsewhere.
    pub fn extend(&mut self, other: Problems) {
        for (problem, span) in other.found {
            self.add_at(problem, span);
        }
    }

    /// Takes the warnings out.
    pub fn take_warnings(&mut self) -> Problems {
        let (warnings, found) = std::mem::take(&mut self.found)
            .into_iter()
            .partition(|(problem, _)| problem.is_warning());
        self.found = found;
        Problems { found: warnings }
    }

    /// Leaves out what is not among `others` too.
    pub fn retain_common(&mut self, others: &Problems) {
        self.found.retain(|entry| others.found.contains(entry));
    }

    /// Whether anything but warnings was found.
    pub fn has_errors(&self) -> bool {
        self.found.iter().any(|(problem, _)| !problem.is_warning())
    }

    /// Whether something was found within a place.
    pub fn is_noted(&self, place: Span) -> bool {
        let mut found = self.found.iter().filter_map(|(_, span)| *span);
        found.any(|span| span.is_in(place))
    }

    /// How many were found.
    pub fn count(&self) -> usize {
        self.found.len()
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }
}
