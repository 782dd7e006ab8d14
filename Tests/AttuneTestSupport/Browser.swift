// SPDX-License-Identifier: Apache-2.0

import Foundation
import Synchronization

/// A headless Chromium, driven through its DevTools protocol over a pair of pipes.
///
/// Debian's `chromium-headless-shell`, or the program that `ATTUNE_BROWSER` names.
public final class Browser: Sendable {
  /// What the browser or the page did not do.
  public struct Failure: Error, CustomStringConvertible {
    /// In words.
    public let description: String

    /// Says it.
    public init(description: String) { self.description = description }
  }

  private struct State {
    var next = 1
    var waiting: [Int: CheckedContinuation<Data, any Error>] = [:]
    var isOver = false
  }

  private let state = Mutex(State())
  private let input: Int32
  private let process: pid_t
  private let profile: URL

  /// Starts the browser.
  public init() throws {
    profile = URL.temporaryDirectory.appending(path: "attune-browser-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: profile, withIntermediateDirectories: true)
    var (down, up): ([Int32], [Int32]) = ([0, 0], [0, 0])
    guard pipe(&down) == 0, pipe(&up) == 0 else { throw Failure(description: "no pipe") }
    for descriptor in [down[1], up[0]] { _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC) }
    let program = try Self.program()
    let arguments = [
      program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
      "--no-first-run", "--remote-debugging-pipe", "--user-data-dir=\(profile.path)",
      "--disable-background-networking", "--disable-component-update", "about:blank",
    ]
    // The browser reads from descriptor 3 and writes to 4; both ends are moved out of the way first.
    let (read, write) = (fcntl(down[0], F_DUPFD, 10), fcntl(up[1], F_DUPFD, 10))
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    posix_spawn_file_actions_adddup2(&actions, read, 3)
    posix_spawn_file_actions_adddup2(&actions, write, 4)
    posix_spawn_file_actions_addclose(&actions, read)
    posix_spawn_file_actions_addclose(&actions, write)
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
    var pointers: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) }
    pointers.append(nil)
    defer { pointers.forEach { free($0) } }
    // Its helpers are in a group with it, so that they end with it and leave its folder alone.
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP))
    posix_spawnattr_setpgroup(&attributes, 0)
    var pid: pid_t = 0
    let code = posix_spawn(&pid, program, &actions, &attributes, pointers, environ)
    posix_spawnattr_destroy(&attributes)
    posix_spawn_file_actions_destroy(&actions)
    for descriptor in [down[0], up[1], read, write] { Foundation.close(descriptor) }
    guard code == 0 else { throw Failure(description: "\(program) can't be started") }
    process = pid
    input = down[1]
    let output = up[0]
    Thread.detachNewThread { [self] in listen(to: output) }
  }

  private static func program() throws -> String {
    let named = ProcessInfo.processInfo.environment["ATTUNE_BROWSER"].map { [$0] } ?? []
    let known = [
      "/usr/bin/chromium-headless-shell", "/usr/bin/chromium",
      "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    ]
    for path in named + known where FileManager.default.isExecutableFile(atPath: path) {
      return path
    }
    throw Failure(
      description: "no browser: `make test` installs chromium-headless-shell, or set ATTUNE_BROWSER"
    )
  }

  /// Ends the browser.
  public func close() {
    _ = Foundation.close(input)
    kill(-process, SIGKILL)
    var status: Int32 = 0
    waitpid(process, &status, 0)
    try? FileManager.default.removeItem(at: profile)
  }

  /// Calls a method of the protocol.
  public func call(
    _ method: String, _ parameters: [String: Any] = [:], session: String? = nil
  ) async throws -> [String: Any] {
    var message: [String: Any] = ["method": method, "params": parameters]
    if let session { message["sessionId"] = session }
    let id = state.withLock { state in
      defer { state.next += 1 }
      return state.next
    }
    message["id"] = id
    let bytes = try JSONSerialization.data(withJSONObject: message) + [0]
    let answer = try await withCheckedThrowingContinuation { continuation in
      let isOver = state.withLock { state in
        if !state.isOver { state.waiting[id] = continuation }
        return state.isOver
      }
      if isOver { return continuation.resume(throwing: Failure(description: "the browser ended")) }
      let sent = bytes.withUnsafeBytes { write(input, $0.baseAddress, $0.count) }
      if sent != bytes.count {
        let waiting = state.withLock { $0.waiting.removeValue(forKey: id) }
        waiting?.resume(throwing: Failure(description: "\(method) can't be sent"))
      }
    }
    let object = try JSONSerialization.jsonObject(with: answer) as? [String: Any] ?? [:]
    if let error = object["error"] as? [String: Any] {
      throw Failure(description: "\(method): \(error["message"] ?? error)")
    }
    return object["result"] as? [String: Any] ?? [:]
  }

  private func listen(to output: Int32) {
    var rest: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: 65_536)
    while true {
      let count = read(output, &piece, piece.count)
      guard count > 0 else { break }
      rest += piece[..<count]
      while let end = rest.firstIndex(of: 0) {
        let message = Data(rest[..<end])
        rest.removeFirst(end + 1)
        guard
          let object = try? JSONSerialization.jsonObject(with: message) as? [String: Any],
          let id = object["id"] as? Int
        else { continue }
        state.withLock { $0.waiting.removeValue(forKey: id) }?.resume(returning: message)
      }
    }
    _ = Foundation.close(output)
    let waiting = state.withLock { state in
      state.isOver = true
      defer { state.waiting = [:] }
      return state.waiting
    }
    for continuation in waiting.values {
      continuation.resume(throwing: Failure(description: "the browser ended"))
    }
  }

  /// Opens a page, apart from all others: with cookies and memory of its own.
  public func open(
    _ url: String, width: Int = 1280, height: Int = 900, isDark: Bool = false
  ) async throws -> BrowserPage {
    let context = try await call("Target.createBrowserContext")["browserContextId"] ?? ""
    let target = try await call(
      "Target.createTarget", ["url": "about:blank", "browserContextId": context])
    let attached = try await call(
      "Target.attachToTarget", ["targetId": target["targetId"] ?? "", "flatten": true])
    let page = BrowserPage(browser: self, session: attached["sessionId"] as? String ?? "")
    try await page.call(
      "Emulation.setDeviceMetricsOverride",
      ["width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600])
    try await page.call(
      "Emulation.setEmulatedMedia",
      ["features": [["name": "prefers-color-scheme", "value": isDark ? "dark" : "light"]]])
    try await page.call("Page.enable")
    try await page.go(url)
    return page
  }
}

/// A page in a browser.
public struct BrowserPage: Sendable {
  let browser: Browser
  let session: String

  /// Calls a method of the protocol for this page.
  @discardableResult
  public func call(_ method: String, _ parameters: [String: Any] = [:]) async throws -> [String:
    Any]
  {
    try await browser.call(method, parameters, session: session)
  }

  /// Goes to an address, and waits until the whole page is read.
  public func go(_ url: String) async throws {
    try await call("Page.navigate", ["url": url])
    try await wait("document.readyState === 'complete'")
  }

  /// Evaluates JavaScript, which must come to a string.
  public func text(_ script: String) async throws -> String {
    let answer = try await call(
      "Runtime.evaluate", ["expression": "String(\(script))", "awaitPromise": true])
    if let details = answer["exceptionDetails"] as? [String: Any] {
      let exception = details["exception"] as? [String: Any]
      throw Browser.Failure(description: "\(script): \(exception?["description"] ?? details)")
    }
    return (answer["result"] as? [String: Any])?["value"] as? String ?? ""
  }

  /// The text that an element shows.
  public func shown(_ selector: String) async throws -> String {
    try await text("document.querySelector('\(selector)')?.innerText ?? ''")
  }

  /// Waits until JavaScript comes to true.
  public func wait(_ script: String, seconds: Double = 30) async throws {
    let end = ContinuousClock.now + .seconds(seconds)
    while true {
      // A page that is just being left has no place to evaluate in.
      if (try? await text("Boolean(\(script))")) == "true" { return }
      guard ContinuousClock.now < end else {
        let body = (try? await shown("body")) ?? ""
        throw Browser.Failure(description: "waited for \(script); the page shows:\n\(body)")
      }
      try await Task.sleep(for: .milliseconds(20))
    }
  }

  /// Waits until an element shows a text.
  public func wait(for text: String, in selector: String = "body") async throws {
    let json = String(decoding: try JSONEncoder().encode(text), as: UTF8.self)
    try await wait("document.querySelector('\(selector)')?.innerText.includes(\(json))")
  }

  /// Presses a key, as a keyboard does.
  public func press(_ key: String) async throws {
    let codes = [
      "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Enter": 13, "Escape": 27,
      "Tab": 9,
    ]
    var event: [String: Any] = ["type": "keyDown", "key": key, "code": key]
    if let code = codes[key] {
      event["windowsVirtualKeyCode"] = code
      if key == "Enter" { event["text"] = "\r" }
    } else {
      event["text"] = key
      event["code"] = "Key\(key.uppercased())"
      event["windowsVirtualKeyCode"] = Int(key.uppercased().unicodeScalars.first?.value ?? 0)
    }
    try await call("Input.dispatchKeyEvent", event)
    event["type"] = "keyUp"
    event["text"] = nil
    try await call("Input.dispatchKeyEvent", event)
  }

  /// Types a text into what has the focus.
  public func type(_ text: String) async throws {
    try await call("Input.insertText", ["text": text])
  }

  /// Moves, presses or releases the mouse.
  public func mouse(_ type: String, x: Double, y: Double) async throws {
    try await call(
      "Input.dispatchMouseEvent",
      [
        "type": type, "x": x, "y": y, "button": "left", "buttons": type == "mouseReleased" ? 0 : 1,
        "clickCount": 1,
      ])
  }

  /// Clicks a button by its words, with the mouse.
  public func click(button words: String) async throws {
    let place = try await text(
      """
      (button => {
        button?.scrollIntoView({ block: 'nearest' });
        const box = button?.getBoundingClientRect();
        return box ? `${box.x + box.width / 2} ${box.y + box.height / 2}` : '';
      })([...document.querySelectorAll('button')].find(e => e.innerText.includes('\(words)')))
      """
    ).split(separator: " ").compactMap { Double($0) }
    guard place.count == 2 else { throw Browser.Failure(description: "no button \(words)") }
    try await mouse("mousePressed", x: place[0], y: place[1])
    try await mouse("mouseReleased", x: place[0], y: place[1])
  }

  /// A picture of the whole page.
  public func picture() async throws -> Data {
    let answer = try await call("Page.captureScreenshot", ["captureBeyondViewport": true])
    return Data(base64Encoded: answer["data"] as? String ?? "") ?? Data()
  }
}
