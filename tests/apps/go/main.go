// A page with one dependency.
package main

import (
	"fmt"
	"log"
	"net/http"
	"os"

	"rsc.io/quote"
)

func main() {
	port := os.Getenv("PORT")
	if port == "" {
		port = "8000"
	}
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, "<!doctype html>\n<title>Sample</title>\n<h1>%s</h1>\n", quote.Go())
	})
	log.Fatal(http.ListenAndServe("0.0.0.0:"+port, nil))
}
