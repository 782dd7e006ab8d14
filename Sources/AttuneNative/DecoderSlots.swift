// SPDX-License-Identifier: Apache-2.0

/// The blocks of a decoder's keys and values, and of which tokens they hold them.
struct DecoderSlots {
  struct Slot {
    let block: KVBlock
    /// The tokens whose keys and values it holds.
    fileprivate(set) var ids: [Int32] = []
    /// How many of the first have the bits that reading them as a prompt gives.
    fileprivate var asPrompt = 0
    /// Whether a text that has not ended has it.
    fileprivate(set) var isTaken = false
    /// When it was last left, to forget the oldest first.
    fileprivate var age = 0

    var count: Int { ids.count }
  }

  /// What a prompt has in common with a slot, as far as that can be taken over.
  struct Match {
    let slot: Int
    let count: Int
  }

  private var slots: [Slot]
  private var clock = 0
  /// Whether long prompts are run in blocks, whose sums are not those of single rows.
  private let runsBlocks: Bool

  /// - Parameters:
  ///   - blocks: The blocks.
  ///   - runsBlocks: Whether rows of a prompt from ``IncrementalDecoder/firstBlock`` on are run in blocks.
  init(_ blocks: [KVBlock], runsBlocks: Bool) {
    slots = blocks.map { Slot(block: $0) }
    self.runsBlocks = runsBlocks
  }

  subscript(slot: Int) -> Slot { slots[slot] }

  /// How many first tokens two texts share.
  static func common(_ a: some Sequence<Int32>, _ b: some Sequence<Int32>) -> Int {
    var count = 0
    for (x, y) in zip(a, b) {
      if x != y { break }
      count += 1
    }
    return count
  }

  /// The slot that has the most of a prompt's first tokens.
  func longest(_ ids: ArraySlice<Int32>) -> Match? {
    var best: Match?
    for (i, slot) in slots.enumerated() {
      let count = usable(Self.common(slot.ids, ids), of: slot)
      guard count > 0, count > best?.count ?? 0 else { continue }
      best = Match(slot: i, count: count)
    }
    return best
  }

  /// What of a slot's tokens a prompt may take over so that it gets the very bits that reading it anew gives.
  private func usable(_ common: Int, of slot: Slot) -> Int {
    IncrementalDecoder.usable(common, read: slot.asPrompt, runsBlocks: runsBlocks)
  }

  /// Takes a slot for a prompt, with what another has of it: that one itself where nothing else of it
  /// is of use, or where there is no other.
  ///
  /// - Returns: Its place; nil if all are taken.
  mutating func take(_ match: Match?, layers: Int) -> Int? {
    let isWhole = match.map { !slots[$0.slot].isTaken && slots[$0.slot].count == $0.count } ?? false
    let free = slots.indices.filter { !slots[$0].isTaken && $0 != match?.slot }
    // Empty ones have age 0.
    let oldest = free.min { slots[$0].age < slots[$1].age }
    let own = match.flatMap { slots[$0.slot].isTaken ? nil : $0.slot }
    guard let place = isWhole ? own : oldest ?? own else { return nil }
    slots[place].isTaken = true
    guard let match else {
      (slots[place].ids, slots[place].asPrompt) = ([], 0)
      return place
    }
    let source = slots[match.slot]
    if place != match.slot {
      slots[place].block.copy(match.count, from: source.block, layers: layers)
    }
    slots[place].ids = Array(source.ids[..<match.count])
    slots[place].asPrompt = min(source.asPrompt, match.count)
    return place
  }

  /// Notes that a slot holds further tokens.
  mutating func extend(_ slot: Int, by ids: some Sequence<Int32>, asPrompt: Bool) {
    let before = slots[slot].count
    slots[slot].ids += ids
    guard asPrompt else { return }
    if before <= IncrementalDecoder.firstBlock || slots[slot].asPrompt == before {
      slots[slot].asPrompt = slots[slot].count
    }
  }

  /// Leaves a slot to others; what it holds is kept until another needs it.
  mutating func leave(_ slot: Int) {
    clock += 1
    slots[slot].isTaken = false
    slots[slot].age = clock
  }
}

extension KVBlock {
  /// Copies the first positions of another block, of all layers.
  func copy(_ count: Int, from other: KVBlock, layers: Int) {
    for layer in 0..<layers {
      keys(layer).copyMemory(from: other.keys(layer), byteCount: count * stride)
      values(layer).copyMemory(from: other.values(layer), byteCount: count * stride)
    }
  }
}
