// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneTraining

/// The command line: one subcommand a file in `Commands/`, no logic here.
struct Attune: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "attune",
    abstract: "Aligns language models with human and AI preferences.",
    discussion: """
      The whole loop on a real model, in some ten minutes on two cores:
        attune quickstart

      M is a model everywhere: a Hugging Face directory, a .gguf file, or a pulled name.
      """,
    version: attuneVersion,
    groupedSubcommands: [
      CommandGroup(
        name: "THE WHOLE LOOP",
        subcommands: [
          QuickstartCommand.self, RLHFCommand.self, FrontierCommand.self, HackingCommand.self,
        ]),
      CommandGroup(
        name: "FEEDBACK",
        subcommands: [
          PromptsCommand.self, TasksCommand.self, SplitCommand.self, ReviewsCommand.self,
          SampleCommand.self,
          LabelCommand.self,
          CollectCommand.self,
          JudgeCommand.self, ReviseCommand.self, ScoreCommand.self, FeedbackCommand.self,
          RankCommand.self,
        ]),
      CommandGroup(
        name: "TRAINING",
        subcommands: [
          SFTCommand.self, RewardCommand.self, PPOCommand.self, ReinforceCommand.self,
          RLOOCommand.self, GRPOCommand.self, RAFTCommand.self, DPGCommand.self,
          BRAInCommand.self, DistillCommand.self, DPOCommand.self, KTOCommand.self,
          IterateCommand.self,
          RolloutsCommand.self, PlanCommand.self,
        ]),
      CommandGroup(
        name: "MODELS",
        subcommands: [
          PullCommand.self, ExportCommand.self, EvaluateCommand.self, CompareCommand.self,
          GenerateCommand.self,
          ChatCommand.self, ServeCommand.self,
          InspectCommand.self, TokenizeCommand.self, LogprobsCommand.self, BenchCommand.self,
          ExactnessCommand.self,
        ]),
    ])
}

@main
enum Main {
  static func main() {
    Interrupt.install()
    do {
      let arguments = Array(CommandLine.arguments.dropFirst())
      try Ranks.begin(arguments)
      try Invocation(arguments).run()
      Ranks.end()
    } catch {
      Failure.exit(with: error)
    }
  }
}
