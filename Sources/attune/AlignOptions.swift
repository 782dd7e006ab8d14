// SPDX-License-Identifier: Apache-2.0

#if Server
  import ArgumentParser
  import AttuneObjectives
  import AttuneTraining
  import Foundation

  /// Policies that are trained from what people say while they are served.
  struct AlignOptions: ParsableArguments {
    @Option(
      name: .customLong("align"),
      help: ArgumentHelp(
        "Train policies from what people say meanwhile, by a loss of attune dpo.", valueName: "loss"
      ))
    var loss: PreferenceLoss?

    @Option(
      name: .customLong("align-every"),
      help: ArgumentHelp(
        "Comparisons with a winner before the next policy (default: 32).", valueName: "n"))
    var every: Int?

    @Option(
      help: ArgumentHelp("Where policies are (default: STORE.policies).", valueName: "dir"),
      completion: .directory)
    var policies: String?

    @Option(
      help: ArgumentHelp("Go back to a policy by its number; 0 is the model.", valueName: "k"))
    var policy: Int?

    func validate() throws {
      guard loss != nil || (every == nil && policies == nil && policy == nil) else {
        throw ValidationError(
          "--align-every, --policies and --policy are of no use without --align.")
      }
    }

    /// The knobs that they set.
    var flags: KnobFlags {
      [
        KnobOption("align.dpo.loss", as: "--align"): loss,
        KnobOption("align.every", as: "--align-every"): every,
      ]
    }

    /// The folder of policies.
    func folder(store: String) -> URL {
      URL(filePath: policies ?? store + ".policies", directoryHint: .isDirectory)
    }
  }
#endif
