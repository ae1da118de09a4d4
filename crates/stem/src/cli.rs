//! The command line: subcommands in the order in which a newcomer needs them.

use clap::{Parser, Subcommand};

#[cfg(feature = "serve")]
use crate::serve;
use crate::{
    compare, completions, console, delta, demo, evaluate, import, init, inspect, parity, prepare, quantize, replay,
    score, train,
};

/// Where a newcomer begins.
const BEGIN: &str = "\
Begin:
  stem demo                                            a simulated log, three models, a table, a bundle
  stem init --data log.csv --labels click,like         a recipe and an experiment for a log of your own
  stem train                                           a bundle and a page about it
  stem compare --models stem,shared-bottom             does sharing help, for whom, and what to ship
  stem evaluate --bundle out/train/bundle.safetensors --data today
  stem score --bundle out/train/bundle.safetensors --input rows.csv --output scores.csv
  stem serve --bundle out/train

`stem COMMAND --help` shows examples of each.";

/// Trains recommenders on several kinds of feedback at once, says whether sharing helps, and scores with them.
#[derive(Parser)]
#[command(name = "stem", version = env!("STEM_VERSION"), arg_required_else_help = true, after_help = BEGIN)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) console: console::Args,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    Demo(demo::Args),
    Init(init::Args),
    Prepare(prepare::Args),
    Train(train::Args),
    Compare(compare::Args),
    Evaluate(evaluate::Args),
    Replay(replay::Args),
    Score(score::Args),
    #[cfg(feature = "serve")]
    Serve(serve::Args),
    Inspect(inspect::Args),
    Import(import::Args),
    Quantize(quantize::Args),
    Delta(delta::DeltaArgs),
    Apply(delta::ApplyArgs),
    #[command(hide = true)]
    Parity(parity::Args),
    Completions(completions::Args),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    /// The command lines that a help text shows: from `stem` to the columns of what explains them, continued after a backslash.
    fn examples(help: &str) -> Vec<Vec<String>> {
        let help = help.replace("\\\n", " ");
        let lines = help.lines().filter_map(|line| line.trim().strip_prefix("stem "));
        let typed =
            |line: &str| line.split(" > ").next().and_then(|line| line.split("    ").next()).map(str::to_string);
        let words = |line: String| ["stem"].into_iter().chain(line.split_whitespace()).map(String::from).collect();
        lines.filter_map(typed).map(words).collect()
    }

    #[test]
    fn every_subcommand_shows_two_command_lines_and_all_that_are_shown_parse() {
        for command in Cli::command().get_subcommands() {
            let name = command.get_name();
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples = examples(&help);
            let own = examples.iter().filter(|example| example[1] == name).count();
            assert!(help.starts_with("Examples:") && own >= 2, "stem {name} --help shows {own} examples:\n{help}");
            for example in examples {
                Cli::command().try_get_matches_from(&example).unwrap_or_else(|e| panic!("{example:?}: {e}"));
            }
        }
    }

    #[test]
    fn the_first_help_leads_from_a_demo_to_scores_by_command_lines_that_parse() {
        let examples = examples(BEGIN);
        for example in &examples {
            Cli::command().try_get_matches_from(example).unwrap_or_else(|e| panic!("{example:?}: {e}"));
        }
        let names: Vec<&str> = examples.iter().map(|example| example[1].as_str()).collect();
        assert_eq!(names, ["demo", "init", "train", "compare", "evaluate", "score", "serve"]);
    }

    #[test]
    fn the_command_line_is_one_that_clap_can_build() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_option_is_explained() {
        for command in Cli::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
                assert!(arg.get_help().is_some(), "{} {}", command.get_name(), arg.get_id());
            }
        }
    }
}
