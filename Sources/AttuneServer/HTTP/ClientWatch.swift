// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Synchronization

/// Tells whoever answers a connection's request that the client has gone, so that nothing is computed for
/// nobody. One that says that it will send no more counts as gone.
final class ClientWatch: ChannelInboundHandler, RemovableChannelHandler, Sendable {
  typealias InboundIn = NIOAny

  private struct State {
    var isGone = false
    var waiting: [Int: @Sendable () -> Void] = [:]
    var next = 0
  }

  private let state = Mutex(State())

  /// Calls a body once the client has gone, at once where it has.
  ///
  /// - Returns: The body's number, to be forgotten by.
  func whenGone(_ body: @escaping @Sendable () -> Void) -> Int {
    let number = state.withLock { state -> Int? in
      guard !state.isGone else { return nil }
      state.next += 1
      state.waiting[state.next] = body
      return state.next
    }
    if number == nil { body() }
    return number ?? 0
  }

  /// Forgets a body.
  func forget(_ number: Int) { state.withLock { _ = $0.waiting.removeValue(forKey: number) } }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if case .inputClosed? = event as? ChannelEvent { end() }
    context.fireUserInboundEventTriggered(event)
  }

  func channelInactive(context: ChannelHandlerContext) {
    end()
    context.fireChannelInactive()
  }

  private func end() {
    let bodies = state.withLock { state in
      state.isGone = true
      defer { state.waiting = [:] }
      return Array(state.waiting.values)
    }
    for body in bodies { body() }
  }
}
