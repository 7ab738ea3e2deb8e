//! Text in columns, as wide as its reader's screen.
//!
//! - `prose` and `list`: text that wraps between words; what no line has room for stands below its row.
//! - `Figures`: numbers, which never wrap; columns that no line has room for stand in a block below.

use comfy_table::{CellAlignment, ColumnConstraint, LineStyle, Table, TableStyle, Width, presets};
use flow_results::words::NO_BREAK;

/// As wide as text is set where nobody says how wide the screen is: a page looks the same in every pipe.
pub(super) const WIDTH: usize = 110;
/// Between two columns.
const GAP: usize = 2;
/// The same where a line stands under the names: the places of its joints count.
const RULED_GAP: usize = GAP + 1;
/// A narrower column of text is hard to read.
const READABLE: usize = 30;
/// What stands below its row is indented by this much.
const BELOW: usize = 4;

/// A line under the header, and one at the end.
const RULED: TableStyle = TableStyle::new()
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .bottom_border(LineStyle::none().fill('─').junction('─'));

/// How many characters a line of stdout has room for: `COLUMNS` where it is set, else the terminal's width; none in a
/// pipe or file.
pub fn width() -> Option<usize> {
    let told = std::env::var("COLUMNS").ok();
    let told = told.and_then(|text| text.parse().ok());
    let told = told.filter(|columns: &usize| *columns > 0);
    told.or_else(|| Table::new().width().map(usize::from))
}

/// Columns without lines: two spaces between them, `indent` before the first.
pub(super) fn prose(rows: impl IntoIterator<Item = Vec<String>>, indent: usize) -> String {
    let rows: Vec<_> = rows.into_iter().collect();
    arrange(&rows, indent, false, Some(width().unwrap_or(WIDTH)))
}

/// The same with the columns' names in the first row.
pub(super) fn table(rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let rows: Vec<_> = rows.into_iter().collect();
    arrange(&rows, 0, true, Some(width().unwrap_or(WIDTH)))
}

/// With the columns' names in the first row, for what scripts may read: each row on one line in a pipe.
pub(super) fn list(rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let rows: Vec<_> = rows.into_iter().collect();
    arrange(&rows, 0, true, width())
}

/// Rows without names of columns, each on one line in a pipe.
pub(super) fn lines(rows: impl IntoIterator<Item = Vec<String>>, indent: usize) -> String {
    let rows: Vec<_> = rows.into_iter().collect();
    arrange(&rows, indent, false, width())
}

/// A sentence that wraps on a screen, and stays on one line in a pipe.
pub(super) fn sentence(text: impl Into<String>) -> String {
    lines([vec![text.into()]], 0)
}

/// A fact beside its name. It wraps on a screen, unless a word of it is too long: paths and digests are there to be copied.
pub(super) fn fact(name: &str, value: &str) -> String {
    /// As wide as the names are.
    const NAME: usize = 10;
    const INDENT: usize = 2;
    let row = [vec![name.to_string(), value.to_string()]];
    let room = width().map(|width| width.saturating_sub(INDENT + NAME + GAP));
    match room.filter(|room| widths(&row, words).last() <= Some(room)) {
        Some(room) => block(&row, INDENT, &[NAME, room]),
        None => format!("{:INDENT$}{name:<NAME$}{:GAP$}{value}", "", "")
            .replace(NO_BREAK, " ")
            .trim_end()
            .to_string(),
    }
}

/// As many columns side by side as a line has room for; the rest of each row stands below it. `headed`: the first row
/// names the columns, and what stands below is named by it.
fn arrange(rows: &[Vec<String>], indent: usize, headed: bool, width: Option<usize>) -> String {
    let natural = widths(rows, |cell| cell.into());
    let words = widths(rows, words);
    let room = width.map_or(usize::MAX, |width| width.saturating_sub(indent));
    let beside = (1..=natural.len()).rev().find_map(|count| {
        let widths = fit(&natural[..count], &words[..count], room);
        widths.map(|widths| (count, widths))
    });
    // A word may be wider than the screen, and is not cut: it may be a path, which people copy.
    let widest = words.first().copied().unwrap_or(0);
    let (count, widths) = beside.unwrap_or((1, vec![room.max(widest)]));
    if count >= natural.len() {
        return block(rows, indent, &widths);
    }
    let mut parts = Vec::new();
    for (i, row) in rows.iter().enumerate() {
        let (beside, below) = row.split_at(count.min(row.len()));
        parts.push(block(&[beside.to_vec()], indent, &widths));
        let cells = below
            .iter()
            .enumerate()
            .filter(|(_, cell)| !cell.is_empty());
        let below: Vec<String> = match headed {
            false => cells.map(|(_, cell)| cell.clone()).collect(),
            true if i == 0 => Vec::new(),
            true => {
                let named = cells.map(|(at, cell)| match rows[0].get(count + at) {
                    Some(name) if !name.is_empty() => format!("{name}: {cell}"),
                    _ => cell.clone(),
                });
                vec![named.collect::<Vec<_>>().join("  ")]
            }
        };
        for cell in below.into_iter().filter(|cell| !cell.is_empty()) {
            let indent = indent + BELOW;
            let room = width.map_or(usize::MAX, |width| width.saturating_sub(indent));
            let cell = [vec![cell]];
            let widest = self::widths(&cell, self::words);
            parts.push(block(&cell, indent, &[room.max(widest[0])]));
        }
    }
    parts.join("\n")
}

/// The widths of columns that have `room` together: their own where that is enough, else the wide ones are made narrower,
/// down to what is readable and to their longest words. None where even that is too wide.
fn fit(natural: &[usize], words: &[usize], room: usize) -> Option<Vec<usize>> {
    let gaps = GAP * natural.len().saturating_sub(1);
    let room = room.checked_sub(gaps)?;
    if natural.iter().sum::<usize>() <= room {
        return Some(natural.to_vec());
    }
    let least: Vec<usize> = natural
        .iter()
        .zip(words)
        .map(|(&natural, &word)| natural.min(READABLE).max(word))
        .collect();
    if least.iter().sum::<usize>() > room {
        return None;
    }
    let at = |level: usize| -> Vec<usize> {
        let both = natural.iter().zip(&least);
        both.map(|(&natural, &least)| level.clamp(least, natural))
            .collect()
    };
    // All columns that are not whole are equally wide, as far as their words allow it.
    let mut level = 0;
    while at(level + 1).iter().sum::<usize>() <= room {
        level += 1;
    }
    let mut widths = at(level);
    let left = room - widths.iter().sum::<usize>();
    let last = (0..widths.len()).rfind(|&i| widths[i] < natural[i]);
    if let Some(last) = last {
        widths[last] = natural[last].min(widths[last] + left);
    }
    Some(widths)
}

/// How wide the columns are once `form` has been applied to each cell.
fn widths(rows: &[Vec<String>], form: impl Fn(&str) -> String) -> Vec<usize> {
    let mut table = Table::new();
    for row in rows {
        table.add_row(row.iter().map(|cell| form(cell)));
    }
    let widths = table.column_max_content_widths();
    widths.into_iter().map(usize::from).collect()
}

/// Columns of these widths, `indent` before the first.
fn block(rows: &[Vec<String>], indent: usize, widths: &[usize]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for row in rows {
        table.add_row(row);
    }
    let last = widths.len().saturating_sub(1);
    for (i, column) in table.column_iter_mut().enumerate() {
        let before = if i == 0 { indent } else { 0 };
        let after = if i == last { 0 } else { GAP };
        pad(column, before, after);
        if let Some(width) = widths.get(i) {
            column.set_constraint(fixed(before + width + after));
        }
    }
    table.trim_fmt().replace(NO_BREAK, " ")
}

/// A cell with each of its words on a line.
fn words(cell: &str) -> String {
    cell.replace(' ', "\n")
}

fn pad(column: &mut comfy_table::Column, before: usize, after: usize) {
    let narrow = |width: usize| u16::try_from(width).unwrap_or(u16::MAX);
    column.set_padding((narrow(before), narrow(after)));
}

fn fixed(width: usize) -> ColumnConstraint {
    ColumnConstraint::Absolute(Width::Fixed(u16::try_from(width).unwrap_or(u16::MAX)))
}

/// A table of figures.
pub(super) struct Figures {
    /// The columns' names; a line each for what stands above what.
    pub header: Vec<String>,
    /// The cells.
    pub rows: Vec<Vec<String>>,
    /// Which columns stand on the right, as numbers do.
    pub numeric: Vec<bool>,
    /// How many columns say what a row is of: they stand in every block.
    pub names: usize,
}

impl Figures {
    /// The table: whole where a line has room for it, else in blocks below each other.
    pub fn text(&self) -> String {
        self.arrange(width())
    }

    fn arrange(&self, width: Option<usize>) -> String {
        let all: Vec<usize> = (0..self.header.len()).collect();
        let natural = self.widths();
        let wide = |columns: &[usize]| {
            let sum: usize = columns.iter().map(|&i| natural[i]).sum();
            sum + RULED_GAP * columns.len().saturating_sub(1)
        };
        let Some(width) = width.filter(|&width| wide(&all) > width) else {
            // A single row that no page is wide enough for is easier to read from top to bottom.
            return match &self.rows[..] {
                [row] if wide(&all) > width.unwrap_or(WIDTH) => self.upright(row, width),
                _ => self.block(&all, None),
            };
        };
        if let [row] = &self.rows[..] {
            return self.upright(row, Some(width));
        }
        let (names, figures) = all.split_at(self.names.min(all.len()));
        let mut blocks: Vec<Vec<usize>> = Vec::new();
        for &figure in figures {
            match blocks.last_mut() {
                Some(block) if wide(&[&block[..], &[figure]].concat()) <= width => {
                    block.push(figure);
                }
                _ => blocks.push([names, &[figure]].concat()),
            }
        }
        let texts = blocks.iter().map(|block| self.block(block, Some(width)));
        texts.collect::<Vec<_>>().join("\n\n")
    }

    /// A row from top to bottom: a line for each column.
    fn upright(&self, row: &[String], width: Option<usize>) -> String {
        let names = self.header.iter().map(|name| match name.as_str() {
            "" => "status".into(),
            // What stands above what reads as one name here.
            name => name.replace('\n', "."),
        });
        let cells = names.zip(row).map(|(name, cell)| vec![name, cell.clone()]);
        arrange(&cells.collect::<Vec<_>>(), 0, false, width)
    }

    fn widths(&self) -> Vec<usize> {
        let rows: Vec<Vec<String>> = [&self.header]
            .into_iter()
            .chain(&self.rows)
            .cloned()
            .collect();
        widths(&rows, |cell| cell.into())
    }

    /// Some of the columns. Text in the last of them wraps where it is too wide.
    fn block(&self, columns: &[usize], width: Option<usize>) -> String {
        let of = |row: &Vec<String>| -> Vec<String> {
            columns
                .iter()
                .map(|&i| row.get(i).cloned().unwrap_or_default())
                .collect()
        };
        let mut table = Table::new();
        table.load_style(RULED).set_header(of(&self.header));
        for row in self.rows.iter().map(of) {
            // A part of a stage that has none of the block's figures.
            let figures = row.get(self.names..).unwrap_or_default();
            let part = row.first().is_some_and(|name| name.starts_with(' '));
            let says_nothing = part && figures.iter().all(String::is_empty);
            if !says_nothing {
                table.add_row(row);
            }
        }
        let natural = self.widths();
        let before: usize = columns
            .iter()
            .rev()
            .skip(1)
            .map(|&i| natural[i] + RULED_GAP)
            .sum();
        for (at, column) in table.column_iter_mut().enumerate() {
            let gap = if at == 0 { 0 } else { GAP };
            pad(column, gap, 0);
            if self.numeric[columns[at]] {
                column.set_cell_alignment(CellAlignment::Right);
            } else if at + 1 == columns.len()
                && let Some(width) = width.filter(|&width| before + natural[columns[at]] > width)
            {
                column.set_constraint(fixed(gap + width.saturating_sub(before).max(READABLE)));
            }
        }
        table.trim_fmt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rows(texts: &[&[&str]]) -> Vec<Vec<String>> {
        let row = |row: &&[&str]| row.iter().map(|cell| cell.to_string()).collect();
        texts.iter().map(row).collect()
    }

    fn widest(text: &str) -> usize {
        text.lines()
            .map(|line| line.chars().count())
            .max()
            .unwrap_or(0)
    }

    #[test]
    fn columns_share_a_line_and_wrap_between_words() {
        let rows = rows(&[
            &[
                "epochs",
                "object",
                "how many epochs a training has at least and at most",
            ],
            &["lr", "number", "the learning rate"],
        ]);
        assert_eq!(
            arrange(&rows, 2, false, Some(60)),
            "  epochs  object  how many epochs a training has at least\n                  \
             and at most\n  lr      number  the learning rate"
        );
    }

    #[test]
    fn what_no_line_has_room_for_stands_below() {
        let rows = rows(&[
            &["run", "began", "ran", "overrides"],
            &[
                "20261124-093000-1f3a",
                "2026-11-24 09:30:00",
                "12",
                "--set keep=0.8",
            ],
            &["20261124-093001-1f3a", "2026-11-24 09:30:01", "3", ""],
        ]);
        assert_eq!(
            arrange(&rows, 0, true, Some(44)),
            "run                   began\n\
             20261124-093000-1f3a  2026-11-24 09:30:00\n    \
             ran: 12  overrides: --set keep=0.8\n\
             20261124-093001-1f3a  2026-11-24 09:30:01\n    \
             ran: 3"
        );
        assert_eq!(arrange(&rows, 0, true, None).lines().count(), 3);
    }

    #[test]
    fn figures_stand_in_blocks_that_fit() {
        let figures = Figures {
            header: ["stage", "accuracy", "loss", "seconds"]
                .map(String::from)
                .to_vec(),
            rows: rows(&[
                &["coarse", "0.9", "0.1", "12"],
                &["fine", "0.8", "0.2", "13"],
            ]),
            numeric: vec![false, true, true, true],
            names: 1,
        };
        assert_eq!(
            figures.arrange(Some(24)),
            "stage    accuracy   loss\n\
             ────────────────────────\n\
             coarse        0.9    0.1\n\
             fine          0.8    0.2\n\
             ────────────────────────\n\
             \n\
             stage    seconds\n\
             ────────────────\n\
             coarse        12\n\
             fine          13\n\
             ────────────────"
        );
        assert_eq!(figures.arrange(None), figures.arrange(Some(200)));
        assert_eq!(figures.arrange(None).lines().count(), 5);
    }

    fn cells() -> impl Strategy<Value = Vec<Vec<String>>> {
        let cell = "([a-zé{}:]{1,12} ){0,12}";
        prop::collection::vec(prop::collection::vec(cell, 4..5), 1..5)
    }

    proptest! {
        /// No line is wider than the screen, no word is cut, and none is lost.
        #[test]
        fn text_fits_and_stays_whole(rows in cells(), width in 40usize..200, headed: bool) {
            let text = arrange(&rows, 2, headed, Some(width));
            prop_assert!(widest(&text) <= width, "{text}");
            let words = |text: &str| -> Vec<String> {
                let mut words: Vec<String> = text.split_whitespace().map(String::from).collect();
                words.sort();
                words
            };
            let cells = rows.iter().flatten().map(String::as_str);
            let whole = words(&cells.collect::<Vec<_>>().join(" "));
            if !headed {
                prop_assert_eq!(words(&text), whole);
            }
        }
    }
}
