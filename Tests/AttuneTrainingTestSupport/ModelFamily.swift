// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import AttuneNative
import AttuneTestSupport
import AttuneTraining
import Foundation

/// A model in a folder, and others as if they had been trained from it: its numbers with noise.
public struct ModelFamily {
  /// Where all of them are.
  public let folder: TemporaryFolder
  /// The model.
  public let base: LoadedModel

  /// Writes the model.
  public init() throws {
    folder = try TemporaryFolder()
    let random = try tinyModel()
    let url = folder.url.appending(path: "base")
    try random.write(try random.model.copy(training: .full), to: url)
    base = try LoadedModel.open(url.path, on: NativeEngine())
  }

  /// Writes a member.
  ///
  /// - Returns: Its folder.
  public func member(
    _ name: String, _ training: Trainable, seed: UInt64, isReward: Bool = false,
    merging: Bool = false, scale: RewardScale? = nil
  ) throws -> String {
    let model = try base.model.copy(
      training: training, scalarHead: isReward ? .normal(seed: seed) : nil)
    var random = SplitMix(seed: seed)
    try model.setTrainedParameters(
      model.trainedParameters().map { tensor in
        NamedTensor(
          name: tensor.name, shape: tensor.shape,
          values: tensor.values.map { $0 + Float.random(in: -0.2...0.2, using: &random) })
      })
    let url = folder.url.appending(path: name)
    try base.write(model, to: url, merging: merging, reward: scale)
    return url.path
  }
}
