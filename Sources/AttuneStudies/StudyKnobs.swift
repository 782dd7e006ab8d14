// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
import AttuneRewards
public import AttuneTraining

extension EvaluationSettings {
  /// Every knob.
  public static let knobs: [Knob] = [
    Knob("n", "Answers to each prompt; one at temperature 0.", .whole(1...Knob.mostAnswers)),
    Knob("max_tokens", "Most tokens of an answer.", .whole(atLeast: 1)),
    Knob(
      "temperature",
      "Sampling temperature; 0 takes the most probable token, of which there is no KL.",
      .number(.atLeast(0))),
    .sampler,
    Knob("confidence", "The confidence of every interval.", .number(.above(0, below: 1))),
    Knob(
      "greedy",
      "Prompts, from the first, to which each model's greedy answer is kept too where answers are; "
        + "0: none.", .whole(atLeast: 0)),
    Knob(
      "difficulties",
      "A file of how hard each instruction is, as alpaca_eval's `instruction_difficulty.csv`, for the win rate at equal length by a judge; empty: without that term.",
      .text),
    Knob("piece_tokens", "Tokens that are worked on at once.", .whole(atLeast: 1)),
    Knob.seed("samples and of the bootstrap; every model draws the same random numbers"),
  ]
}

extension LabelSettings {
  /// Every knob.
  public static let knobs: [Knob] = [
    Knob("labeller", "The labeller.", .choice(Labeller.self)),
    Knob(
      "shape", "What is made of the answers to a prompt.", .choice(PreferenceMaker.Shape.self)),
    Knob(
      "sharpness",
      "What score differences are multiplied by: i is preferred to j with probability "
        + "σ(sharpness·(s_i − s_j)). 0 labels at random, a large number without noise.",
      .number(.atLeast(0))),
    Knob("pairs_per_prompt", "Pairs that are drawn for each prompt; 0 is all.", .whole(atLeast: 0)),
    Knob.seed("the draws"),
  ]
}

extension PromptSettings {
  /// Every knob.
  public static let knobs: [Knob] = [
    Knob(
      "count", "Prompts that are drawn, those held out among them; 0 is all.", .whole(atLeast: 0)),
    Knob("held_out_share", "Share of them that is held out.", .number(.from(0, below: 1))),
    Knob.seed("both draws"),
  ]
}

extension TaskSettings {
  /// Every knob.
  public static let knobs: [Knob] = [
    Knob("count", "Problems to train on.", .whole(atLeast: 1)),
    Knob(
      "held_out", "Problems that are held out, where a file is given for them.", .whole(atLeast: 1)),
    Knob("difficulty", "How hard they are; what grows with it is the task's.", .whole(1...5)),
    Knob("shots", "Problems with their answers that stand before each question.", .whole(0...32)),
    Knob("form", "What a prompt is: a conversation, or a text.", .choice(Form.self)),
    Knob.seed("the problems"),
  ]
}

extension ReviewSettings {
  /// Every knob.
  public static let knobs: [Knob] = [
    Knob("texts", "Reviews that the model is tuned on.", .whole(atLeast: 1)),
    Knob("prompts", "Prompts, each of another review than these.", .whole(atLeast: 1)),
    Knob("words", "Words of a prompt.", .whole(1...64)),
    Knob("seed", "What the choice of reviews follows from.", .seed),
  ]
}

extension PeopleSettings {
  /// Every knob.
  public static let knobs: [Knob] = [
    Knob(
      "labels",
      "Comparisons with a winner that the first round waits for, over answers to the prompts that "
        + "are trained on; 0 asks nobody.", .whole(atLeast: 0)),
    Knob(
      "later_labels", "Those that each later round waits for; 0: as many as the first.",
      .whole(atLeast: 0)),
    Knob(
      "held_out_labels",
      "Those over answers to held-out prompts, which the reward model is evaluated on.",
      .whole(atLeast: 1)),
    Knob("votes", "People that each question goes to.", .whole(1...1000)),
  ]
}
