// SPDX-License-Identifier: Apache-2.0

/// The name of a number that a run reports: the key in `metrics.jsonl`.
///
/// `Documentation/Metrics.md` is printed from `allCases`, so a metric that is added here explains
/// itself. Rewards, losses and log-probabilities are in nats or in the reward's own unit.
public enum Metric: String, CaseIterable, Codable, Sendable, Comparable {
  // Optimisation
  case loss = "loss"
  case supervisedLoss = "loss/supervised"
  case rewardLoss = "loss/reward"
  case centringLoss = "loss/centring"
  case policyLoss = "loss/policy"
  case valueLoss = "loss/value"
  case entropyLoss = "loss/entropy"
  case klLoss = "loss/kl"
  case mixLoss = "loss/ptx"
  case preferenceLoss = "loss/preference"
  case explorationLoss = "loss/exploration"
  case distributionLoss = "loss/distribution"
  case distillationLoss = "loss/distillation"
  case heldOutLoss = "loss/held_out"
  case perplexity = "perplexity"
  case learningRate = "optimizer/learning_rate"
  case gradientNorm = "optimizer/gradient_norm"
  case epoch = "progress/epoch"
  case rows = "progress/rows"
  case tokens = "progress/tokens"
  case tokensPerSecond = "speed/tokens_per_second"
  case trainedTokensPerSecond = "speed/trained_tokens_per_second"
  case sampledTokensPerSecond = "speed/sampled_tokens_per_second"
  case secondsRollout = "seconds/rollout"
  case secondsScore = "seconds/score"
  case secondsUpdate = "seconds/update"
  case secondsStep = "seconds/step"
  case peakMemory = "memory/peak_mb"
  // Preferences and reward models
  case accuracy = "reward/accuracy"
  case heldOutAccuracy = "reward/held_out_accuracy"
  case margin = "reward/margin"
  case chosenReward = "reward/chosen"
  case rejectedReward = "reward/rejected"
  case calibrationError = "reward/calibration_error"
  case implicitBaseline = "reward/implicit_baseline"
  case tiesLeftOut = "reward/ties_left_out"
  case tieParameter = "reward/tie_parameter"
  case chosenLogProbability = "log_probability/chosen"
  case rejectedLogProbability = "log_probability/rejected"
  case saturated = "ratio/saturated_share"
  // Rollouts
  case rewardMean = "reward/mean"
  case policyReward = "reward/policy_mean"
  case keptReward = "reward/kept_mean"
  case rewardDeviation = "reward/sd"
  case rewardNormalised = "reward/normalised_mean"
  case rewardShaped = "reward/with_kl_mean"
  case equalRewardShare = "reward/equal_share"
  case draws = "rollout/draws"
  case staleness = "rollout/staleness"
  case rewardGap = "reward/best_worst_gap"
  case freshAccuracy = "reward/fresh_accuracy"
  case promptsWithoutPair = "reward/prompts_without_pair_share"
  case sourceReward = "reward/source_mean"
  case sourceDeviation = "reward/source_sd"
  case sourceCorrelation = "reward/source_correlation"
  case goldReward = "reward/gold_mean"
  case goldDeviation = "reward/gold_sd"
  case goldCorrelation = "reward/gold_correlation"
  case missingEndShare = "reward/missing_end_share"
  case judgeCalls = "judge/calls"
  case judgeRemembered = "judge/remembered"
  case judgeTokens = "judge/tokens"
  case judgeSeconds = "judge/seconds"
  case constraintMultiplier = "constraint/multiplier"
  case constraintSlack = "constraint/slack"
  case constraintViolations = "constraint/violations"
  // Answers that are right or wrong
  case rightShare = "answer/accuracy"
  case passAtK = "answer/pass_at_k"
  case majorityRight = "answer/majority_accuracy"
  case allRightShare = "answer/all_right_share"
  case allWrongShare = "answer/all_wrong_share"
  case heldOutReward = "held_out/reward"
  case heldOutRight = "held_out/accuracy"
  case heldOutPass = "held_out/pass_at_k"
  case heldOutMajority = "held_out/majority_accuracy"
  case heldOutTeacherKL = "held_out/teacher_kl"
  case heldOutLength = "held_out/length"
  case klSequence = "kl/sequence"
  case klToken = "kl/token"
  case klBestOfN = "kl/best_of_n"
  case klUpdateK1 = "kl/update_k1"
  case klUpdateK3 = "kl/update_k3"
  case beta = "kl/beta"
  case klTarget = "kl/target"
  case entropy = "policy/entropy"
  case responseLength = "response/length"
  case responseLengthDeviation = "response/length_sd"
  case endedShare = "response/ended_share"
  case distinct1 = "response/distinct_1"
  case distinct2 = "response/distinct_2"
  case repetition = "response/repetition"
  case selfBLEU = "response/self_bleu"
  case distinctAnswers = "response/distinct_answers"
  // Policy and value updates
  case clipShare = "policy/clip_share"
  case dualClipShare = "policy/dual_clip_share"
  case ratioMean = "ratio/mean"
  case ratioMaximum = "ratio/maximum"
  case firstRatioGap = "ratio/first_minibatch_gap"
  case samplerGap = "ratio/sampler_gap"
  case samplerKL = "ratio/sampler_kl"
  case samplerReverseKL = "ratio/sampler_kl_reverse"
  case samplerEffectiveShare = "ratio/sampler_effective_share"
  case importanceCutShare = "ratio/importance_cut_share"
  case advantageMean = "advantage/mean"
  case advantageDeviation = "advantage/sd"
  case baseline = "advantage/baseline"
  case valueMean = "value/mean"
  case returnMean = "value/return_mean"
  case valueClipShare = "value/clip_share"
  case explainedVariance = "value/explained_variance"
  // Distribution matching
  case klTargetPolicy = "distribution/kl_target_policy"
  case klTargetProposal = "distribution/kl_target_proposal"
  case proposalReplaced = "distribution/proposal_replaced"
  case effectiveSampleShare = "distribution/effective_sample_share"
  case logPartition = "distribution/log_partition"
  case targetShareEntropy = "distribution/target_share_entropy"
  case pseudoRewardBaseline = "distribution/pseudo_reward_baseline"
  // Distillation
  case teacherKL = "distillation/teacher_kl"
  case ownShare = "distillation/own_share"
  // Evaluation
  case winRate = "evaluation/win_rate"
  case exactKL = "evaluation/exact_kl"
  case referencePerplexity = "evaluation/reference_perplexity"
  case promptUptake = "evaluation/prompt_words_taken_up"

  /// One line on what the number is and how to read it.
  public var meaning: String {
    switch self {
    case .loss: "What the optimiser minimises: the sum of the losses below."
    case .supervisedLoss: "Negative log-likelihood of the response tokens, a token, in nats."
    case .rewardLoss: "Loss of the reward model without the centring term."
    case .centringLoss: "Term that keeps the mean reward of a pair near zero."
    case .policyLoss:
      "Loss of the policy; about 0 at the start of every update, not a progress bar."
    case .valueLoss: "Half the squared error of the value head, clipped, times its coefficient."
    case .entropyLoss: "Minus the entropy bonus."
    case .klLoss: "KL term in the loss, times its weight."
    case .mixLoss: "Supervised loss on the mixed-in text (ptx), times its coefficient."
    case .preferenceLoss: "Loss of the preference objective."
    case .explorationLoss:
      "XPO's bonus: α times the log-probability of the reference's own answers."
    case .distributionLoss:
      "Loss of distribution matching; a surrogate with constant weights, except for brain."
    case .distillationLoss:
      "Mean divergence of a token's distribution from the teacher's over the whole vocabulary, in nats."
    case .heldOutLoss: "The loss on rows that are not trained on."
    case .perplexity: "e to the supervised loss: how many tokens the model hesitates between."
    case .learningRate: "Learning rate of this step, after warm-up and decay."
    case .gradientNorm: "Euclidean norm of the gradient before clipping."
    case .epoch: "Passes over the data so far."
    case .rows: "Rows (pairs, rankings, texts, answers) trained on so far."
    case .tokens: "Tokens trained on so far."
    case .tokensPerSecond: "Tokens that went through the model a second, prompts included."
    case .trainedTokensPerSecond: "Tokens that carry a loss, a second of training."
    case .sampledTokensPerSecond: "Tokens sampled a second."
    case .secondsRollout: "Seconds of sampling in this step."
    case .secondsScore: "Seconds of scoring by reward, reference and old policy in this step."
    case .secondsUpdate: "Seconds of forward, backward and optimiser in this step."
    case .secondsStep: "Seconds of the whole step."
    case .peakMemory: "Largest resident memory of the process so far, in MB."
    case .accuracy: "Share of preferred answers that score higher; equal scores count one half."
    case .heldOutAccuracy: "The same on pairs that are not trained on."
    case .margin: "Mean score of the preferred answer minus that of the other."
    case .chosenReward: "Mean score of the preferred answers."
    case .rejectedReward: "Mean score of the answers not preferred."
    case .calibrationError:
      "Expected calibration error: how far predicted win probabilities are from the wins."
    case .implicitBaseline:
      "What implicit rewards are compared with: β·z of KTO, δ of BCO; one number a batch."
    case .tiesLeftOut: "Share of comparisons that say 'tie' or 'both bad' and are not trained on."
    case .tieParameter:
      "Learned readiness to call two answers equal (λ of Rao–Kupper, ν of Davidson)."
    case .chosenLogProbability: "Mean log-probability of the preferred answers, a sequence."
    case .rejectedLogProbability: "Mean log-probability of the answers not preferred, a sequence."
    case .saturated: "Share of rows whose log-ratio is beyond the bound of 20."
    case .rewardMean: "Mean reward of the sampled answers, as its source gives it."
    case .policyReward:
      "Mean reward of the policy where another model drew the answers, which are weighted by π/q."
    case .keptReward: "Mean reward of the answers that raft keeps."
    case .rewardDeviation: "Standard deviation of reward/mean's reward."
    case .rewardNormalised: "Mean reward after normalisation and penalties, before the KL term."
    case .rewardShaped: "Mean reward with the KL term: an estimate of the objective J."
    case .equalRewardShare:
      "Share of prompts whose answers all got one score, which have no gradient in a group method."
    case .draws: "Draws of prompts that a rollout of dapo took."
    case .staleness:
      "Rollouts that the policy was trained on since it sampled, mean over what was sampled elsewhere."
    case .rewardGap: "Mean reward of a prompt's best answer minus that of its worst."
    case .freshAccuracy:
      "Share of freshly sampled pairs that the implicit reward ranks right before they are trained on."
    case .promptsWithoutPair: "Share of prompts whose answers give no pair: all alike or all equal."
    case .sourceReward:
      "Mean reward by one of several sources before its weight; the source stands in brackets behind the name."
    case .sourceDeviation: "Standard deviation of that source's rewards, in the same way."
    case .sourceCorrelation:
      "Correlation of two sources over the rollout's answers, their names in brackets with | between."
    case .goldReward: "Mean reward of a source that is watched, not trained on."
    case .goldDeviation: "Standard deviation of the watched reward."
    case .goldCorrelation: "Correlation of learned and watched reward over the rollout's answers."
    case .missingEndShare:
      "Share of answers that did not end by themselves; the penalty, where there is one, is theirs."
    case .judgeCalls:
      "Requests that judges of the reward answered, or questions that they read, since the last line."
    case .judgeRemembered: "Questions to judges whose answers were known."
    case .judgeTokens: "Tokens that judges read and wrote, as far as a server tells them."
    case .judgeSeconds: "Seconds that judges were waited for."
    case .constraintMultiplier:
      "λ of a constraint, the price of its costs, in rewards for as much as the first rollout was off the limit; the constraint stands in brackets behind the name."
    case .constraintSlack: "Its limit minus the mean cost: below 0 it is not kept."
    case .constraintViolations: "Share of answers that cost more than its limit."
    case .rightShare:
      "Share of answers that are right, by the first source that checks answers (answer, ifeval, tests), else by a watched one that does."
    case .passAtK:
      "Share of prompts with a right answer among those to it: pass@k, k being samples_per_prompt."
    case .majorityRight:
      "Share of prompts whose most frequent answer is right: maj@k; of several as frequent the share of right ones."
    case .allRightShare:
      "Share of prompts all of whose answers are right, which teach a group method nothing."
    case .allWrongShare:
      "Share of prompts none of whose answers is right, which teach nothing either."
    case .heldOutReward:
      "Mean reward of answers to the rows of --eval-data, by the policy that this rollout began with."
    case .heldOutRight: "Share of those answers that are right."
    case .heldOutPass:
      "Share of those rows with a right answer among evaluation_samples: pass@k."
    case .heldOutMajority: "Share of those rows whose most frequent answer is right: maj@k."
    case .heldOutTeacherKL:
      "KL from the teacher in nats a sequence on answers to the rows of --eval-data: at every position that of the whole vocabulary, summed."
    case .heldOutLength: "Mean number of tokens of those answers."
    case .klSequence:
      "KL from the reference in nats a sequence, estimated by log-ratios on the policy's own samples; on another's they are weighted by π/q."
    case .klToken: "The same a token."
    case .klBestOfN:
      "Most KL that one round of best-of-n adds: log n − (n−1)/n nats a sequence where one is kept."
    case .klUpdateK1: "KL of this update from the sampling policy, a token: mean of −log-ratio."
    case .klUpdateK3: "The same by k3, which is never negative and has less variance."
    case .beta: "Weight of the KL term in reward or loss."
    case .klTarget: "KL in nats a sequence that adaptive β steers towards."
    case .entropy: "Mean entropy of the next-token distribution at response tokens, in nats."
    case .responseLength: "Mean number of tokens of an answer, end-of-sequence included."
    case .responseLengthDeviation: "Standard deviation of that number."
    case .endedShare: "Share of answers that ended by themselves."
    case .distinct1: "Distinct tokens over tokens, all answers of the rollout together."
    case .distinct2: "Distinct token pairs over token pairs."
    case .repetition: "Share of word 4-grams of an answer that it had before."
    case .selfBLEU:
      "Mean BLEU (to word 4-grams) of an answer against the others to its prompt: 1 is all alike."
    case .distinctAnswers: "Different answers to a prompt over answers to it, mean over prompts."
    case .clipShare: "Share of tokens where the clipped ratio stops the gradient."
    case .dualClipShare: "Share of tokens where the dual clip stops the gradient."
    case .ratioMean: "Mean of π_new/π_old over tokens; near 1."
    case .ratioMaximum: "Largest π_new/π_old of a token."
    case .firstRatioGap:
      "Largest |ratio − 1| in the first minibatch of a rollout of several steps; must be near 0 (below 1e-4 in every precision, else the run ends)."
    case .samplerGap:
      "Largest difference between the sampler's and the trainer's log-probability of a token."
    case .samplerKL:
      "KL from the sampler's distribution to the trainer's policy in nats a token, by k3; only where their numbers are not the same (sampler, precision)."
    case .samplerReverseKL:
      "KL from the trainer's policy to the sampler's distribution in nats a token, estimated from the sampler's tokens."
    case .samplerEffectiveShare:
      "Effective sample size of the tokens' importance weights over their number, nothing cut: 1 is a sampler that is the policy."
    case .importanceCutShare: "Share of tokens whose importance weight is above importance_cap."
    case .advantageMean: "Mean advantage of a token before whitening."
    case .advantageDeviation: "Standard deviation of that advantage."
    case .baseline: "Running mean of the returns that REINFORCE holds a return against."
    case .valueMean: "Mean value that the value head gives."
    case .returnMean: "Mean return that it should give."
    case .valueClipShare: "Share of tokens where the clipped value stops the gradient."
    case .explainedVariance:
      "1 − variance of (return − value)/variance of return: 1 is perfect, 0 no better than a constant."
    case .klTargetPolicy:
      "KL from target to policy in nats a sequence, by weighted samples: what dpg brings down."
    case .klTargetProposal: "The same from target to the policy that drew the samples."
    case .proposalReplaced: "Share of rollouts after which the policy took the proposal's place."
    case .effectiveSampleShare:
      "Effective sample size over a prompt's samples: 1 is even weights, 1/n all weight on one."
    case .logPartition: "Mean estimate of log Z(x), the target's normaliser."
    case .targetShareEntropy:
      "Entropy of the target's shares among a prompt's samples (α of BRAIn), in nats."
    case .pseudoRewardBaseline: "B of f-DPG: running mean of the pseudo-reward −f′."
    case .teacherKL:
      "KL from the teacher in nats a sequence, estimated by log-ratios on the policy's own samples; on another's they are weighted by π/q."
    case .ownShare: "Share of the rollout's prompts that the policy answered itself."
    case .winRate: "Share of answers that beat the other model's by the watched reward."
    case .exactKL:
      "KL from the reference in nats a sequence: at every position of the policy's own samples the exact KL of the next token's distributions, summed (`evaluate --exact-kl`)."
    case .referencePerplexity: "Perplexity of the answers under the reference model."
    case .promptUptake: "Share of the prompt's content words that the answer takes up."
    }
  }

  /// In the order of declaration, the order of the documentation.
  public static func < (a: Metric, b: Metric) -> Bool { a.position < b.position }

  private static let positions = Dictionary(
    uniqueKeysWithValues: allCases.enumerated().map { ($1, $0) })
  private var position: Int { Self.positions[self] ?? 0 }
}
