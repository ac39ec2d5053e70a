package main

// Named structures of package runtime of which every field is kept.
var wholeStructs = []string{
	"mheap", "pageAlloc", "scavengeIndex", "addrRanges", "addrRange", "pallocData", "pageCache", "atomicScavChunkData",
	"mspan", "mSpanStateBox", "mSpanList", "mcentral", "spanSet", "spanSetBlock", "heapArena", "linearAlloc", "arenaHint",
	"fixalloc", "persistentAlloc", "notInHeapSlice", "mcache", "gcBitsArena", "gcBitsHeader",
	"mTreap", "treapNode", "bucket", "memRecord", "memRecordCycle", "blockRecord",
	"special", "specialfinalizer", "specialprofile", "finblock", "finalizer", "workbuf", "workbufhdr",
	"mstats", "consistentHeapStats", "heapStatsDelta", "sizeClassScanStats", "gcControllerState",
	"stack", "stackpoolItem", "spanInlineMarkBits", "spanQueue", "spanSPMC",
}

// Structures of which only these fields are kept: the others are many and change with every release.
var partStructs = map[string][]string{
	"g": {"stack", "stackguard0", "m", "sched", "syscallsp", "atomicstatus", "goid", "waitsince", "waitreason", "gopc",
		"startpc", "lockedm", "parentGoid"},
	"m": {"g0", "gsignal", "procid", "mstartfn", "curg", "p", "id", "mcache", "alllink", "schedlink", "freelink",
		"fastrand"},
	"p": {"id", "status", "link", "m", "mcache", "pcache", "mspancache", "mspancache.len", "mspancache.buf", "palloc",
		"gcw", "statsSeq"},
	"moduledata": {"pcHeader", "pclntable", "ftab", "findfunctab", "minpc", "maxpc", "text", "etext", "noptrdata",
		"enoptrdata", "data", "edata", "bss", "ebss", "noptrbss", "enoptrbss", "covctrs", "ecovctrs", "end", "gcdata",
		"gcbss", "types", "etypes", "rodata", "gofunc", "modulename", "hasmain", "next"},
	"debug": {"madvdontneed", "gctrace", "scavtrace", "harddecommit", "decoratemappings", "disablethp"},
	"work": {"full", "empty", "wbufSpans.free", "wbufSpans.busy"},
}

// Variables of package runtime whose own type has no name; an array of such is known by its element.
var variables = []string{"debug", "scavenge", "work", "gcBitsArenas", "globalAlloc", "stackpool", "stackLarge"}

// Constants of package runtime. A release has one of the spellings, or none.
var constants = []string{
	"pageSize", "_PageShift", "heapArenaBytes", "heapAddrBits", "arenaL1Bits", "arenaL2Bits", "arenaBaseOffset",
	"pallocChunkPages", "pallocChunkBytes", "pallocChunksL1Bits", "pallocChunksL2Bits", "summaryLevels",
	"summaryL0Bits", "summaryLevelBits", "pageCachePages", "persistentChunkSize", "_FixAllocChunk", "_StackCacheSize",
	"_FixedStack", "fixedStack", "_NumStackOrders", "_NumSizeClasses", "numSpanClasses",
	"_WorkbufSize", "workbufAlloc", "gcBitsChunkBytes", "gcBitsHeaderBytes", "buckHashSize", "buckhashSize",
	"memProfile", "blockProfile", "mutexProfile", "mSpanDead", "mSpanInUse", "mSpanManual", "mSpanFree",
	"spanSetBlockEntries", "_FinBlockSize", "finBlockSize",
	"defaultHeapMinimum",
}
