// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneTraining
import Foundation

/// Runs a program's tests in a child without network, without the home folder and with limits, inside
/// bubblewrap.
///
/// The child sees the system's programs read-only and an empty folder in memory; it has as many seconds
/// as it is given, 1 GiB of memory, files of 16 MB. Each test runs in a process of its own, and passes
/// where it ends with a word that was made for this run. That keeps a program from harming the machine
/// and from passing by accident (`sys.exit(0)`), not from looking for that word in its own memory.
struct PythonSandbox {
  /// A program with its tests.
  struct Task {
    /// What runs before the program: imports, helpers.
    var setup: String
    /// The program.
    var program: String
    /// Code that raises where the program is wrong, or input with the output that is due.
    var tests: [JSONValue]
  }

  private let command: String
  private let seconds: Double

  /// Looks for what it needs, and tries it.
  ///
  /// - Parameter seconds: What a program's tests may take together.
  /// - Throws: `TrainingError.unavailable` that says what is missing.
  init(seconds: Double) throws {
    func missing(_ what: String) -> TrainingError {
      TrainingError(
        .unavailable,
        "tests:python3: \(what); programs of a model are run nowhere but in bubblewrap (Debian: apt "
          + "install bubblewrap python3)")
    }
    guard let bubblewrap = Self.find("bwrap") else { throw missing("there is no bwrap") }
    guard let python = Self.find("python3") else { throw missing("there is no python3") }
    var binds = ["/usr", "/lib", "/lib64", "/bin", "/etc/alternatives", "/etc/ld.so.cache"]
    var program = python
    if !python.hasPrefix("/usr/") || python.hasPrefix("/usr/local/") {
      // One that lies elsewhere (pyenv) is seen too, without what lies around it.
      let said = Self.output("\(Self.quoted(python)) -I -c 'import sys; print(sys.base_prefix)'")
      guard let prefix = said, prefix.hasPrefix("/") else {
        throw missing("\(python) does not say where it lies")
      }
      binds.append(prefix)
      program = prefix + "/bin/python3"
    }
    let words =
      [bubblewrap, "--unshare-all", "--die-with-parent", "--new-session", "--clearenv"]
      + binds.flatMap { ["--ro-bind-try", $0, $0] }
      + ["--dev", "/dev", "--size", "67108864", "--tmpfs", "/tmp", "--chdir", "/tmp"]
      + ["--setenv", "PATH", "/usr/bin:/bin", "--setenv", "HOME", "/tmp"]
      + [program, "-I", "-S", "-B", "-c", Self.harness]
    command = "exec " + words.map(Self.quoted).joined(separator: " ")
    self.seconds = seconds
    var why = ""
    let trial = Task(setup: "", program: "x = 1", tests: [.string("assert x == 1")])
    let passed = try run([trial]) { why = $0 }[0]
    guard passed == [true] else {
      throw missing("a first program can't be run in it\(why.isEmpty ? "" : " (\(why))")")
    }
  }

  /// Which tests each program passes.
  ///
  /// - Parameters:
  ///   - tasks: The programs.
  ///   - show: Given what is said on standard error.
  func run(_ tasks: [Task], show: @escaping (String) -> Void = { _ in }) throws -> [[Bool]] {
    let atOnce = max(1, ProcessInfo.processInfo.activeProcessorCount)
    var all: [[Bool]] = []
    for start in stride(from: 0, to: tasks.count, by: atOnce) {
      try Interrupt.check()
      let batch = tasks[start..<min(start + atOnce, tasks.count)]
      let running = try batch.map { task -> (program: ProgramProcess, word: String) in
        let word = UUID().uuidString
        let program = try ProgramProcess(command, show: show)
        let line = JSONValue.object([
          .init("word", .string(word)), .init("seconds", .double(seconds)),
          .init("setup", .string(task.setup)), .init("program", .string(task.program)),
          .init("tests", .array(task.tests)),
        ])
        program.send([line.text])
        return (program, word)
      }
      let deadline = ContinuousClock.now + .seconds(seconds + 10)
      for ((program, word), task) in zip(running, batch) {
        var verdict: JSONValue?
        while verdict == nil, !program.isOver, ContinuousClock.now < deadline {
          for line in try program.exchange(for: .milliseconds(200)) {
            let value = line.withUnsafeBufferPointer { try? JSONParser.parse($0) }
            if value?["word"] == .string(word) { verdict = value }
          }
        }
        program.stop(patiently: false)
        let passed = verdict?["passed"]?.asArray?.map { $0 == .bool(true) } ?? []
        all.append(passed.count == task.tests.count ? passed : task.tests.map { _ in false })
      }
    }
    return all
  }

  // MARK: Parts

  private static func find(_ name: String) -> String? {
    let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
    return (["/usr/bin"] + folders.map(String.init)).map { "\($0)/\(name)" }
      .first { FileManager.default.isExecutableFile(atPath: $0) }
  }

  private static func quoted(_ word: String) -> String {
    "'" + word.replacing("'", with: "'\\''") + "'"
  }

  private static func output(_ command: String) -> String? {
    guard let program = try? ProgramProcess(command, show: { _ in }) else { return nil }
    program.endInput()
    let deadline = ContinuousClock.now + .seconds(10)
    while !program.isOver, ContinuousClock.now < deadline {
      if let line = try? program.exchange(for: .milliseconds(200)).first {
        return String(decoding: line, as: UTF8.self)
      }
    }
    return nil
  }

  /// What runs inside: reads one task, forks for each test, and writes which passed.
  private static let harness = """
    import json, os, resource, select, signal, sys, time
    task = json.loads(sys.stdin.readline())
    word = task["word"].encode()
    end = time.monotonic() + task["seconds"]
    cpu = int(task["seconds"]) + 1

    def child(test, pipe):
        os.setpgid(0, 0)
        given = test["input"] if isinstance(test, dict) else ""
        with open("/tmp/in", "w") as file: file.write(given)
        os.dup2(os.open("/tmp/in", os.O_RDONLY), 0)
        out = os.open("/tmp/out", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(os.open("/dev/null", os.O_WRONLY), 2)
        for descriptor in range(3, 64):
            if descriptor != pipe:
                try: os.close(descriptor)
                except OSError: pass
        for limit, value in [(resource.RLIMIT_CPU, cpu), (resource.RLIMIT_AS, 1 << 30),
                             (resource.RLIMIT_FSIZE, 1 << 24), (resource.RLIMIT_CORE, 0),
                             (resource.RLIMIT_NPROC, 64)]:
            resource.setrlimit(limit, (value, value))
        space = {"__name__": "__main__"}
        exec(compile(task["setup"] + "\\n" + task["program"], "answer", "exec"), space)
        if not isinstance(test, dict): exec(compile(test, "test", "exec"), space)
        sys.stdout.flush()
        os.write(pipe, word)

    def passes(test):
        ours, theirs = os.pipe()
        process = os.fork()
        if process == 0:
            try: child(test, theirs)
            except BaseException: pass
            finally: os._exit(0)
        os.close(theirs)
        said = b""
        while len(said) < len(word):
            left = end - time.monotonic()
            if left <= 0 or not select.select([ours], [], [], left)[0]: break
            part = os.read(ours, 64)
            if not part: break
            said += part
        for target in (-process, process):
            try: os.kill(target, signal.SIGKILL)
            except OSError: pass
        os.waitpid(process, 0)
        os.close(ours)
        if said != word: return False
        if not isinstance(test, dict): return True
        with open("/tmp/out", errors="replace") as file: out = file.read()
        lines = lambda text: [line.rstrip() for line in text.rstrip().split("\\n")]
        return lines(out) == lines(test["output"])

    passed = [passes(test) for test in task["tests"]]
    print(json.dumps({"word": task["word"], "passed": passed}), flush=True)
    """
}
