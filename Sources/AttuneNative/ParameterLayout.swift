// SPDX-License-Identifier: Apache-2.0

package import AttuneEngine

/// Where each tensor of a block (the embeddings, one layer, or the final norm and head) lies in one
/// run of floats: group after group, so that each group's matrices are one matrix product.
package struct BlockLayout: Sendable {
  struct Place {
    /// Among all floats of the block.
    let offset: Int
    /// Of a matrix among the numbers of its group's matrices, of a vector among the block's vectors.
    let ownOffset: Int
    /// The group that it belongs to.
    let group: Int
  }

  package let groups: [TransformerSpec.ModuleGroup]
  /// In the order of memory.
  package let tensors: [TransformerSpec.Tensor]
  package private(set) var count = 0
  private(set) var vectorCount = 0
  /// By role, weights and biases in turn.
  private var places = [Place?](repeating: nil, count: 2 * ModuleRole.allCases.count)

  package init(_ groups: [TransformerSpec.ModuleGroup]) {
    self.groups = groups
    tensors = groups.flatMap(\.tensors)
    for (i, group) in groups.enumerated() {
      var matrixCount = 0
      for tensor in group.tensors {
        places[Self.index(tensor.role, tensor.isBias)] = Place(
          offset: count, ownOffset: tensor.isMatrix ? matrixCount : vectorCount, group: i)
        count += tensor.count
        if tensor.isMatrix { matrixCount += tensor.count } else { vectorCount += tensor.count }
      }
    }
  }

  private static func index(_ role: ModuleRole, _ isBias: Bool) -> Int {
    2 * role.rawValue + (isBias ? 1 : 0)
  }

  func place(_ tensor: TransformerSpec.Tensor) -> Place? {
    places[Self.index(tensor.role, tensor.isBias)]
  }

  /// The group of a role, whose first module's numbers begin those of all.
  func group(_ role: ModuleRole) -> TransformerSpec.ModuleGroup? {
    places[Self.index(role, false)].map { groups[$0.group] }
  }

  /// The blocks of a model: embeddings, each layer, final norm and head.
  package static func blocks(_ spec: TransformerSpec) -> [BlockLayout] {
    spec.blocks.map { BlockLayout($0) }
  }
}
