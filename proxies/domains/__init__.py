"""From a heap of documents to domains worth mixing: embedded, clustered, described, sorted into pools."""
