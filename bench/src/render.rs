// SPDX-License-Identifier: GPL-3.0-or-later
//! The figures of a run as Markdown, with its plots beside it.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::report::{Chapter, Figure, Plot, Results, number};
use crate::svg;

/// Reads what `--json` wrote, and writes the document and the plots in a directory beside it that is named after it.
pub(crate) fn write(json: &Path, document: &Path) -> Result<()> {
    let text = fs::read_to_string(json).with_context(|| json.display().to_string())?;
    let results: Results = serde_json::from_str(&text).with_context(|| json.display().to_string())?;
    let name = document.file_stem().and_then(|name| name.to_str()).context("the document has no name")?;
    let directory = name.to_lowercase();
    let plots = document.with_file_name(&directory);
    fs::create_dir_all(&plots).with_context(|| plots.display().to_string())?;
    for entry in fs::read_dir(&plots)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "svg") {
            fs::remove_file(&path).with_context(|| path.display().to_string())?;
        }
    }
    for chapter in &results.chapters {
        for plot in &chapter.plots {
            let path = plots.join(file_name(chapter, plot));
            ensure!(!path.exists(), "two plots are named {}", path.display());
            fs::write(&path, svg::draw(plot)).with_context(|| path.display().to_string())?;
        }
    }
    fs::write(document, markdown(&results, &directory)).with_context(|| document.display().to_string())
}

/// The document, whose plots are in this directory.
pub(crate) fn markdown(results: &Results, directory: &str) -> String {
    let mut out = String::from(
        "# Performance\n\nWhat LECO costs and how fast it is, on one machine in one run: compare within this page, not with \
         another machine's. `script/bench --report` makes this page anew; its figures are in\n[figures.json](",
    );
    let _ = writeln!(out, "{directory}/figures.json). It took {} min.", results.seconds.div_ceil(60));
    if results.quick {
        out += "\n**A quick run: the figures are rough.**\n";
    }
    out += "\n| | |\n|---|---|\n";
    for (name, value) in &results.machine {
        row(&mut out, &[name, value]);
    }
    out += "\nA median of several measurements has the interval in which the true one is with 95 % (order statistics); \
            its spread is the\nwidth of that interval, as a share of the median.\n";
    missed(&mut out, results);
    for chapter in &results.chapters {
        write_chapter(&mut out, chapter, directory);
    }
    out
}

/// What was missed, and what could not be measured.
fn missed(out: &mut String, results: &Results) {
    let figures = || results.chapters.iter().flat_map(|chapter| &chapter.figures);
    let limits = figures().filter(|figure| figure.kept.is_some()).count();
    let missed: Vec<_> = figures().filter(|figure| figure.kept == Some(false)).collect();
    let _ = writeln!(out, "\n## Missed: {} of {limits} limits\n", missed.len());
    if missed.is_empty() {
        out.push_str("Every limit was kept.\n");
    } else {
        table(out, &missed);
    }
    let failures: Vec<_> = results.chapters.iter().flat_map(|chapter| &chapter.failures).collect();
    if !failures.is_empty() {
        out.push_str("\nCould not be measured:\n\n");
        for failure in failures {
            // Words of a program, over several lines.
            let _ = writeln!(out, "- {}", failure.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
}

fn write_chapter(out: &mut String, chapter: &Chapter, directory: &str) {
    let _ = writeln!(out, "\n## {}", chapter.name);
    for note in &chapter.notes {
        let _ = write!(out, "\n{note}\n");
    }
    if !chapter.figures.is_empty() {
        out.push('\n');
        // What was missed comes first, in the order in which it was measured.
        let mut figures: Vec<_> = chapter.figures.iter().collect();
        figures.sort_by_key(|figure| figure.kept != Some(false));
        table(out, &figures);
    }
    for plot in &chapter.plots {
        let _ = writeln!(out, "\n### {}, {}\n", plot.title, plot.y);
        let _ = writeln!(out, "![{}]({directory}/{})\n", plot.title, file_name(chapter, plot));
        plot_table(out, plot);
    }
}

fn table(out: &mut String, figures: &[&Figure]) {
    out.push_str("| figure | value | 95 % interval | spread | limit | |\n|---|---:|---:|---:|---:|---|\n");
    for figure in figures {
        let value = format!("{} {}", number(figure.value.value), figure.unit);
        let spread = figure.value.spread().map_or_else(String::new, |spread| format!("{spread:.3}"));
        let verdict = match figure.kept {
            None => "",
            Some(true) => "kept",
            Some(false) => "**missed**",
        };
        let interval = figure.value.interval_words();
        row(out, &[&figure.name, value.trim_end(), &interval, &spread, &figure.limit_words(), verdict]);
    }
}

fn plot_table(out: &mut String, plot: &Plot) {
    let places = svg::places(plot);
    let mut head = vec![plot.x.clone()];
    head.extend(places.iter().map(|place| svg::grouped(*place)));
    row(out, &head.iter().map(String::as_str).collect::<Vec<_>>());
    let _ = writeln!(out, "|---|{}", "---:|".repeat(places.len()));
    for curve in &plot.curves {
        let mut cells = vec![curve.name.clone()];
        for place in &places {
            let value = curve.points.iter().find(|(x, _)| x.total_cmp(place).is_eq());
            cells.push(value.map_or_else(String::new, |(_, value)| number(*value)));
        }
        row(out, &cells.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

fn row(out: &mut String, cells: &[&str]) {
    let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    let _ = writeln!(out, "| {} |", cells.join(" | "));
}

/// Words of its title, joined.
fn file_name(chapter: &Chapter, plot: &Plot) -> String {
    let title = format!("{} {}", chapter.name, plot.title).to_lowercase();
    let words = title.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    format!("{}.svg", words.collect::<Vec<_>>().join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESULTS: &str = include_str!("../testdata/results.json");

    fn results() -> Results {
        serde_json::from_str(RESULTS).expect("the results of a run")
    }

    #[test]
    fn a_report_names_first_what_was_missed() {
        insta::assert_snapshot!(markdown(&results(), "performance"));
    }

    #[test]
    fn a_plot_is_a_picture_with_names_and_scales() {
        let results = results();
        let plots: Vec<_> = results.chapters.iter().flat_map(|chapter| &chapter.plots).collect();
        insta::assert_snapshot!(plots.iter().map(|plot| svg::draw(plot)).collect::<String>());
    }

    #[test]
    fn what_is_kept_is_what_is_read() {
        let again = serde_json::to_string(&results()).expect("JSON");
        let again: Results = serde_json::from_str(&again).expect("what was written");
        assert_eq!(markdown(&again, "performance"), markdown(&results(), "performance"));
    }

    #[test]
    fn a_run_without_figures_is_a_page_all_the_same() {
        assert!(markdown(&Results::default(), "performance").contains("Every limit was kept."));
    }

    #[test]
    fn the_document_and_its_plots_replace_those_of_the_last_run() {
        let folder = tempfile::tempdir().expect("a directory");
        let (json, document) = (folder.path().join("figures.json"), folder.path().join("PERFORMANCE.md"));
        let plots = folder.path().join("performance");
        fs::create_dir(&plots).and_then(|()| fs::write(plots.join("old.svg"), "")).expect("an old plot");
        fs::write(&json, RESULTS).expect("figures");
        write(&json, &document).expect("a document");
        assert!(!plots.join("old.svg").exists());
        let text = fs::read_to_string(&document).expect("the document");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            assert!(link == "performance/figures.json" || folder.path().join(link).exists(), "{link}");
        }
    }
}
