//! A table for a paper: a tabular with the rules of the package booktabs.

use super::grid::{Entry, Grid};
use super::plain;

pub(super) fn print(grid: &Grid) -> String {
    let places = grid.columns.iter();
    let places: String = places.map(|c| if c.numeric { 'r' } else { 'l' }).collect();
    let line = |cells: Vec<String>| format!("  {} \\\\", cells.join(" & "));
    let names = grid.columns.iter().map(|column| escaped(&column.name));
    let mut lines = vec![
        "% \\usepackage{booktabs}".to_string(),
        format!("\\begin{{tabular}}{{{places}}}"),
        "  \\toprule".into(),
        line(names.collect()),
        "  \\midrule".into(),
    ];
    lines.extend(
        grid.rows
            .iter()
            .map(|row| line(row.iter().map(entry).collect())),
    );
    lines.push("  \\bottomrule".into());
    lines.push("\\end{tabular}".into());
    // What stands below the table is for the caption, which is the author's.
    lines.extend(grid.notes.iter().map(|note| format!("% {}", plain(note))));
    lines.join("\n")
}

fn entry(entry: &Entry) -> String {
    match entry {
        Entry::Text(text) => escaped(text),
        Entry::Figure {
            mean,
            half_width,
            n,
            exceeds,
            best,
        } => {
            let mut text = number(mean);
            if let Some(half_width) = half_width {
                text += &format!(" \\pm {}", number(half_width));
            }
            if *best {
                text = format!("\\mathbf{{{text}}}");
            }
            if *exceeds {
                text += "^{*}";
            }
            let n = n.map_or(String::new(), |n| format!(" ($n={n}$)"));
            format!("${text}${n}")
        }
        Entry::Lead {
            difference,
            p,
            exceeds,
        } => {
            let star = if *exceeds { "^{*}" } else { "" };
            let p = p
                .as_ref()
                .map_or(String::new(), |p| match p.strip_prefix('<') {
                    Some(p) => format!(" ($p<{p}$)"),
                    None => format!(" ($p={p}$)"),
                });
            format!("${}{star}${p}", number(difference))
        }
        Entry::Nothing => "--".into(),
    }
}

/// A number in mathematics.
fn number(text: &str) -> String {
    if text == "NaN" {
        return "\\mathrm{NaN}".into();
    }
    match text.split_once('e') {
        Some((digits, exponent)) => format!("{digits} \\times 10^{{{exponent}}}"),
        None => text.into(),
    }
}

/// Text that LaTeX sets as it is.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in plain(text).chars() {
        match c {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => {
                escaped.push('\\');
                escaped.push(c);
            }
            '\\' => escaped += "\\textbackslash{}",
            '~' => escaped += "\\textasciitilde{}",
            '^' => escaped += "\\textasciicircum{}",
            '<' => escaped += "\\textless{}",
            '>' => escaped += "\\textgreater{}",
            '|' => escaped += "\\textbar{}",
            // \textquotedbl is not in every encoding.
            '"' => escaped += "{\\char34}",
            '`' => escaped += "\\textasciigrave{}",
            // Two of them would become one dash.
            '-' if escaped.ends_with('-') => escaped += "{-}",
            // At the beginning of a row LaTeX would take these for a part of the line break before it.
            '[' => escaped += "{[}",
            '*' => escaped += "{*}",
            c => escaped.push(c),
        }
    }
    escaped
}
