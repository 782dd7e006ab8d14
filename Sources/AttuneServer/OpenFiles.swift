// SPDX-License-Identifier: Apache-2.0

import Foundation
import NIOCore

/// The files and connections that the system lets this process have open at once.
enum OpenFiles {
  /// What is needed beside the connections: the store's files, those of models, the server's own.
  static let reserve = 128

  /// Makes sure that so many connections can be open beside all else; the limit is raised where the
  /// system allows that.
  ///
  /// - Throws: ``ServerError`` that says how many there may be.
  static func require(connections: Int) throws {
    let needed = rlim_t(connections + reserve)
    var limit = rlimit()
    guard getrlimit(kind, &limit) == 0, limit.rlim_cur < needed else { return }
    let allowed = limit.rlim_cur
    limit.rlim_cur = min(needed, limit.rlim_max)
    if setrlimit(kind, &limit) == 0, limit.rlim_cur >= needed { return }
    throw ServerError(
      .badSetting,
      "\(connections) connections need \(needed) open files, and the system allows \(allowed): raise that "
        + "(ulimit -n \(needed)), or take fewer (--set connections=N, \(reserve) are needed beside them)"
    )
  }

  #if canImport(Darwin)
    private static let kind = RLIMIT_NOFILE
  #else
    private static let kind = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
  #endif
}

/// Keeps a server listening when a connection can't be accepted: it waits a moment where files or memory
/// are wanting, and goes on.
final class AcceptGuard: ChannelDuplexHandler {
  typealias InboundIn = NIOAny
  typealias OutboundIn = Never

  private var isWaiting = false

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    guard let failure = error as? IOError,
      [EMFILE, ENFILE, ENOBUFS, ENOMEM, ECONNABORTED].contains(failure.errnoCode)
    else { return context.fireErrorCaught(error) }
    guard !isWaiting else { return }
    isWaiting = true
    // What waits to be accepted would wake the loop again and again.
    try? context.channel.syncOptions?.setOption(.autoRead, value: false)
    let loopBound = NIOLoopBound((handler: self, context: context), eventLoop: context.eventLoop)
    context.eventLoop.scheduleTask(in: .milliseconds(100)) {
      let (handler, context) = loopBound.value
      handler.isWaiting = false
      try? context.channel.syncOptions?.setOption(.autoRead, value: true)
    }
  }

  func read(context: ChannelHandlerContext) {
    if !isWaiting { context.read() }
  }
}
