// SPDX-License-Identifier: Apache-2.0

// An app imports one module: rows, settings, reports and the engine's protocol come with it.
@_exported public import AttuneData
@_exported public import AttuneEngine
@_exported public import AttuneNative
@_exported public import AttuneObjectives
@_exported public import AttuneRewards
@_exported public import AttuneTraining
